"""From a request to its response: which model, which way past the cache, which figures are kept.

Knows neither grpc nor protobuf.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dialog_service.diversity import distinct_ratio, metric_tokens, self_bleu
from dialog_service.errors import DeadlinePassed
from dialog_service.replies import Candidate, OnReply
from dialog_service.selection import select
from dialog_service.serving import tracing
from dialog_service.serving.answers import Answer, Ask, Response, fresh_seed
from dialog_service.serving.live_diversity import LiveDiversity
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.pooled_answers import PooledAnswers
from dialog_service.serving.pools import CacheStatus
from dialog_service.serving.registry import LoadedModel, ModelRegistry
from dialog_service.serving.validation import (
    CacheMode,
    ReplyQuery,
    ReplyRequest,
    RequestLimits,
    ServerLimits,
    validated,
)
from dialog_service.serving.window_figures import Source

_SAMPLED_EVERY_SECONDS = 1.0  # self-BLEU takes most of a millisecond


class Responder:
    """Answers requests with the models of a registry; ``pooled`` None is no cache."""

    def __init__(
        self,
        registry: ModelRegistry,
        pooled: PooledAnswers | None,
        live: LiveDiversity,
        metrics: Metrics,
        limits: ServerLimits,
    ) -> None:
        """What it needs is started and closed by others."""
        self._registry = registry
        self._pooled = pooled
        self._live = live
        self._metrics = metrics
        self._limits = limits
        self._sampled_at: dict[str, float] = {}  # of each model version

    async def respond(
        self, request: ReplyRequest, *, deadline: float, on_reply: OnReply | None = None
    ) -> Response:
        """Replies to one request.

        Args:
            request: as it was sent.
            deadline: in the event loop's time.
            on_reply: told of each reply of the response once, in order, as soon as it is known.
                The figures are those of whole responses: of one that fails half-way no reply
                is counted.

        Raises:
            RequestError: of every kind; see each class.
        """
        told = _Told(on_reply)
        ask = self._ask(request, deadline, told.tell if on_reply else None)
        try:
            async with asyncio.timeout_at(deadline):
                with ask.model.uses.one():
                    answer = await self._traced(ask)
        except TimeoutError as error:
            raise DeadlinePassed("the deadline passed") from error
        replies = select(answer.candidates, ask.query.reply_count, ask.query.selection)
        for number, reply in enumerate(replies):
            told.tell(number, reply)
        pooled = frozenset(answer.drawn)
        drawn = _tokens([reply for reply in replies if reply in pooled])
        fresh = _tokens([reply for reply in replies if reply not in pooled])
        response = Response(
            answer=answer,
            replies=replies,
            model=ask.model.loaded,
            context_truncated=_is_truncated(ask.model.loaded, ask.query, answer),
            distinct_1=distinct_ratio(drawn + fresh, 1),
            distinct_2=distinct_ratio(drawn + fresh, 2),
        )
        self._live.record(response.model.version_name, Source.CACHE, drawn)
        self._live.record(response.model.version_name, Source.FRESH, fresh)
        self._count(response)
        self._sample(response.model.version_name, drawn + fresh)
        return response

    def _count(self, response: Response) -> None:
        self._metrics.cache_requests.labels(response.answer.cache.value).inc()
        self._metrics.replies.inc(len(response.replies))
        for reply in response.replies:
            self._metrics.reply_tokens.observe(reply.token_count)
        ratio = self._metrics.request_distinct_ratio
        ratio.labels(response.model.version_name, "1").observe(response.distinct_1)
        ratio.labels(response.model.version_name, "2").observe(response.distinct_2)

    def _sample(self, model: str, replies: Sequence[Sequence[str]]) -> None:
        """Measure self-BLEU of a request's replies, where there are several and it is time."""
        now = time.monotonic()
        if (
            len(replies) < 2
            or now - self._sampled_at.get(model, -math.inf) < _SAMPLED_EVERY_SECONDS
        ):
            return
        self._sampled_at[model] = now
        for order in (2, 4):
            labels = (model, str(order))
            self._metrics.request_self_bleu.labels(*labels).observe(self_bleu(replies, order))

    def _ask(self, request: ReplyRequest, deadline: float, on_reply: OnReply | None) -> Ask:
        """The query a request stands for, to the model it names."""
        model = self._registry.resolve(request.model)
        generator = model.loaded.generator
        limits = RequestLimits(
            server=self._limits,
            vocab_size=generator.limits.vocab_size,
            context_turns=generator.limits.context_turns,
        )
        query = validated(request, limits, generator.defaults)
        told = None if query.selection.waits_for_all else on_reply
        return Ask(model, query, deadline, model.blocklist.current(), told)

    async def _traced(self, ask: Ask) -> Answer:
        """An answer, in a span of its own: a call may hold many requests."""
        with tracing.stage("answer") as span:
            span.note("dialog.model", ask.model.loaded.version_name)
            span.note("dialog.reply_count", ask.query.reply_count)
            answer = await self._answer(ask)
            span.note("dialog.cache.result", answer.cache.value)
        return answer

    async def _answer(self, ask: Ask) -> Answer:
        mode = ask.query.cache_mode
        if self._pooled is None or ask.query.seed is not None or mode is CacheMode.BYPASS:
            return await _generated(ask, CacheStatus.BYPASS)
        if mode is CacheMode.REFRESH:
            answer = await _generated(ask, CacheStatus.MISS)
            await self._pooled.refresh(ask, answer)
            return answer
        return await self._pooled.answer(ask)


@dataclass(slots=True)
class _Told:
    """Tells of each reply once, in order, however often it hears of it."""

    on_reply: OnReply | None
    count: int = 0

    def tell(self, number: int, reply: Candidate) -> None:
        if self.on_reply and number == self.count:
            self.count += 1
            self.on_reply(number, reply)


async def _generated(ask: Ask, status: CacheStatus) -> Answer:
    """Replies all of which are generated for this request alone, so that its seed gives them."""
    seed = fresh_seed() if ask.query.seed is None else ask.query.seed
    request = ask.generation(ask.query.candidate_count, seed=seed)
    generated = await ask.model.batcher.submit(
        request, deadline=ask.deadline, on_reply=ask.on_reply
    )
    return Answer(fresh=generated.result.candidates, cache=status, seed=seed, generated=generated)


def _is_truncated(model: LoadedModel, query: ReplyQuery, answer: Answer) -> bool:
    """Whether the model could not use all turns; a pool does not tell, so they are measured."""
    if answer.generated:
        return query.turns_cut or answer.generated.result.context_truncated
    return query.turns_cut or model.generator.truncates(query.turns)


def _tokens(replies: Sequence[Candidate]) -> list[list[str]]:
    return [metric_tokens(reply.text) for reply in replies]
