"""When to leave a failing server alone."""

import time
from collections.abc import Callable

FAILURE_LIMIT = 3
PATIENCE_SECONDS = 0.1


class CircuitBreaker:
    """Opens after some failures in a row and some time of nothing else; a success closes it.

    The time is there because many commands may fail at one moment of one short pause. While it is
    open its owner sends nothing but a probe now and then.
    """

    def __init__(
        self, on_change: Callable[[bool], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Closed; ``on_change`` is told at each change, and at the first outcome, if it is up."""
        self._on_change = on_change
        self._clock = clock
        self._failures = 0
        self._failing_since = 0.0
        self._is_up: bool | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server is to be left alone."""
        return self._is_up is False

    def succeed(self) -> None:
        """Something was answered."""
        self._failures = 0
        self._set(True)

    def fail(self) -> None:
        """Something was not answered, or not in time."""
        now = self._clock()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if self._failures >= FAILURE_LIMIT and now - self._failing_since >= PATIENCE_SECONDS:
            self._set(False)

    def _set(self, is_up: bool) -> None:
        """Note the state and tell of a change."""
        if is_up != self._is_up:
            self._is_up = is_up
            self._on_change(is_up)
