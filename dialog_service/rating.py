"""How well the replies of requests under way fit their contexts, for the requests that ask."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dialog_service.engine import Engine
from dialog_service.replies import GenerationRequest, GenerationResult

Results = Mapping[int, GenerationResult | None]


class Ratings:
    """The contexts that replies are held against, from a request's beginning to its end."""

    def __init__(self, engine: Engine, read: Callable[[str], Sequence[int]]) -> None:
        """No request is under way.

        Args:
            engine: tells; of a model without a matcher nothing is known.
            read: the ids of a reply's text, at least one.
        """
        self._engine = engine
        self._read = read
        self._vectors: dict[int, Tensor] = {}  # (1, M) of each request that asks

    def begin(
        self,
        first: int,
        requests: Sequence[GenerationRequest],
        contexts: Sequence[Sequence[int]],
        states: Tensor,
    ) -> None:
        """Remember the contexts of the requests numbered from ``first`` on, where they ask.

        Args:
            first: the number of the first.
            requests: N of them.
            contexts: the ids of each one's context.
            states: (N, C) the engine's of these.
        """
        asking = [place for place, request in enumerate(requests) if request.is_rated]
        if not (asking and self._engine.has_matcher):
            return
        vectors = self._engine.context_vectors([contexts[n] for n in asking], states[asking])
        for place, vector in zip(asking, vectors, strict=True):
            # A copy: what is kept for one request must not keep all rows it was made with.
            self._vectors[first + place] = vector[None].clone()

    def told(self, done: Results) -> dict[int, GenerationResult | None]:
        """Results of requests that are done with, their candidates with how well they fit.

        All in one pass; the requests are forgotten, abandoned ones too.
        """
        vectors = {n: self._vectors.pop(n) for n in done if n in self._vectors}
        rated = {n: result for n, result in done.items() if result and n in vectors}
        candidates = [(n, each) for n, result in rated.items() for each in result.candidates]
        if not candidates:
            return dict(done)
        contexts = torch.cat([vectors[n] for n, _ in candidates])
        replies = [self._read(each.text) for _, each in candidates]
        found = iter(self._engine.relevance(contexts, replies).tolist())
        told = {n: _with_relevance(result, found) for n, result in rated.items()}
        return {**done, **told}


def _with_relevance(result: GenerationResult, found: Iterator[float]) -> GenerationResult:
    candidates = tuple(replace(each, relevance=next(found)) for each in result.candidates)
    return replace(result, candidates=candidates)
