"""When to leave a failing server alone."""

from collections.abc import Callable


class CircuitBreaker:
    """Opens after ``failure_limit`` failures in a row, closes with the first success.

    While it is open its owner sends nothing but a probe now and then, whose success closes it.
    """

    def __init__(self, on_change: Callable[[bool], None], *, failure_limit: int = 3) -> None:
        """Closed; ``on_change`` is told at each change, and at the first outcome, if it is up."""
        self._on_change = on_change
        self._failure_limit = failure_limit
        self._failures = 0
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
        self._failures += 1
        if self._failures >= self._failure_limit:
            self._set(False)

    def _set(self, is_up: bool) -> None:
        """Note the state and tell of a change."""
        if is_up != self._is_up:
            self._is_up = is_up
            self._on_change(is_up)
