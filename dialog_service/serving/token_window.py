"""The latest replies up to a number of tokens, counted exactly."""

from collections import deque
from collections.abc import Sequence

from dialog_service.diversity import NgramCounts


class TokenWindow:
    """Slides by whole replies: never less than ``capacity_tokens`` once that many have come."""

    def __init__(self, capacity_tokens: int) -> None:
        """Empty."""
        self.capacity_tokens = capacity_tokens
        self.tokens = 0
        self.counts = {n: NgramCounts(n) for n in (1, 2)}
        self._replies: deque[tuple[str, ...]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether as many tokens have come as the window is to hold."""
        return self.tokens >= self.capacity_tokens

    def add(self, replies: Sequence[Sequence[str]]) -> None:
        """Take in replies in order, each given as its metric tokens, and let the oldest ones go."""
        self._replies.extend(map(tuple, replies))
        self.tokens += sum(map(len, replies))
        gone = []
        while self._replies and self.tokens - len(self._replies[0]) >= self.capacity_tokens:
            gone.append(self._replies.popleft())
            self.tokens -= len(gone[-1])
        for counts in self.counts.values():
            counts.add(replies)
            counts.remove(gone)
