"""A model with a matcher, for what shows of it in an evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dialog_service.generation import (
    Candidate,
    GenerationRequest,
    GenerationResult,
    Generator,
)


def rated(candidate: Candidate) -> Candidate:
    """As one finds it who likes short replies."""
    return replace(candidate, relevance=1 / (1 + len(candidate.text)))


class Matched:
    """A generator whose matcher finds short replies to fit best; ``said`` is all its results."""

    has_matcher = True

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.said: list[GenerationResult] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[GenerationResult]:
        results = [
            replace(result, candidates=tuple(map(rated, result.candidates)))
            if request.is_rated
            else result
            for request, result in zip(requests, self._generator.generate(requests), strict=True)
            if result
        ]
        self.said += results
        return results


@pytest.fixture(scope="session")
def matched() -> Callable[[Generator], Matched]:
    return Matched
