"""How many requests a second each caller may make. Knows neither callers nor requests."""

import time
from collections.abc import Callable

from dialog_service.errors import Overloaded

_ROUNDING = 1e-9  # of adding up times
_CALLERS_KEPT = 10_000  # before those at rest are forgotten


class RateLimit:
    """``per_second`` requests of each caller, and after a rest a second's worth at once.

    The generic cell rate algorithm: of a caller only the time is kept at which, at that rate, all
    requests so far will have been paid for. A caller who is ahead of it by no more than a second
    may ask again. So a batch is taken as a whole, and what it costs beyond that is waited for
    afterwards.
    """

    def __init__(
        self,
        per_second: float | None,
        on_refusal: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody has asked for anything; ``per_second`` None is no limit."""
        self._interval = 1 / per_second if per_second else 0.0
        # Below one request a second, one at a time.
        self._leeway = max(0.0, 1.0 - self._interval)
        self._on_refusal = on_refusal
        self._clock = clock
        self._paid_at: dict[str, float] = {}
        self._kept = _CALLERS_KEPT

    def take(self, caller: str, requests: int = 1) -> None:
        """Count requests of a caller; those that are refused do not count.

        Raises:
            Overloaded: they come too early; says when they would not.
        """
        if not self._interval:
            return
        now = self._clock()
        paid_at = max(now, self._paid_at.get(caller, now))
        early = paid_at - now - self._leeway
        if early > _ROUNDING:
            self._on_refusal()
            rate = f"{1 / self._interval:g} requests a second"
            raise Overloaded(
                f"more than the {rate} that a caller may make; try again in {early:.3g} s",
                retry_after_seconds=early,
            )
        self._paid_at[caller] = paid_at + requests * self._interval
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Where there are many callers, keep those alone of whom something is to be known."""
        if len(self._paid_at) >= self._kept:
            self._paid_at = {who: at for who, at in self._paid_at.items() if at > now}
            self._kept = max(_CALLERS_KEPT, 2 * len(self._paid_at))
