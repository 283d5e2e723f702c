"""DialogService: protobuf to domain and back, nothing else."""

import asyncio
from typing import Any, cast

import grpc
from google.protobuf.duration_pb2 import Duration

from dialog_service.errors import FieldViolation, InvalidRequest
from dialog_service.generation import Candidate, FinishReason, SamplingParameters
from dialog_service.serving.answers import Response
from dialog_service.serving.batcher import Generated
from dialog_service.serving.interceptors import REQUEST_ID
from dialog_service.serving.live_diversity import LiveDiversity
from dialog_service.serving.pools import CacheStatus
from dialog_service.serving.registry import LoadedModel, ModelRegistry
from dialog_service.serving.responder import Responder
from dialog_service.serving.statuses import status_of
from dialog_service.serving.validation import (
    MAX_TURNS,
    AskedSampling,
    AskedSelection,
    CacheMode,
    ReplyRequest,
    Strategy,
    Turn,
)
from dialog_service.serving.window_figures import Source, WindowFigure
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

_Context = grpc.aio.ServicerContext[Any, Any]
_MAX_BATCH_REQUESTS = 64

_CACHE_MODES = {
    pb.CACHE_MODE_UNSPECIFIED: CacheMode.DEFAULT,
    pb.CACHE_MODE_DEFAULT: CacheMode.DEFAULT,
    pb.CACHE_MODE_BYPASS: CacheMode.BYPASS,
    pb.CACHE_MODE_REFRESH: CacheMode.REFRESH,
}
_STRATEGIES = {
    pb.SELECTION_STRATEGY_UNSPECIFIED: Strategy.DEFAULT,
    pb.SELECTION_STRATEGY_NONE: Strategy.NONE,
    pb.SELECTION_STRATEGY_MMR: Strategy.MMR,
}
_CACHE_STATUSES = {
    CacheStatus.HIT: pb.CACHE_STATUS_HIT,
    CacheStatus.MISS: pb.CACHE_STATUS_MISS,
    CacheStatus.BYPASS: pb.CACHE_STATUS_BYPASS,
    CacheStatus.DEGRADED: pb.CACHE_STATUS_DEGRADED,
}
_FINISH_REASONS = {
    FinishReason.END: pb.FINISH_REASON_END,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    FinishReason.STOP: pb.FINISH_REASON_STOP,
}
_SCOPES = {"replica": pb.DIVERSITY_SCOPE_REPLICA, "fleet": pb.DIVERSITY_SCOPE_FLEET}
_SOURCES = {Source.FRESH: pb.REPLY_SOURCE_FRESH, Source.CACHE: pb.REPLY_SOURCE_CACHE}


class DialogServicer(dialog_pb2_grpc.DialogServiceServicer):
    """The service's methods, each documented in the .proto file."""

    def __init__(
        self,
        responder: Responder,
        registry: ModelRegistry,
        live: LiveDiversity,
        *,
        default_deadline_seconds: float,
        max_replies: int,
    ) -> None:
        """Over parts that others start and close."""
        self._responder = responder
        self._registry = registry
        self._live = live
        self._default_deadline_seconds = default_deadline_seconds
        self._max_replies = max_replies

    async def GenerateReplies(
        self, request: pb.GenerateRepliesRequest, context: _Context
    ) -> pb.GenerateRepliesResponse:
        """See the .proto file."""
        return await self._replies(request, self._deadline(context))

    async def StreamReplies(  # type: ignore[override]  # writes where the stub has a generator
        self, request: pb.StreamRepliesRequest, context: _Context
    ) -> None:
        """See the .proto file."""
        events: asyncio.Queue[pb.StreamRepliesResponse | None] = asyncio.Queue()
        answering = asyncio.create_task(
            self._put_events(request.request, self._deadline(context), events)
        )
        try:
            if event := await events.get():  # before it a call may fail, and be tried again
                await context.send_initial_metadata(((REQUEST_ID, _request_id(context)),))
            while event:
                await context.write(event)
                event = await events.get()
            await answering  # which raises what went wrong
        finally:
            answering.cancel()
            await asyncio.wait({answering})

    async def BatchGenerateReplies(
        self, request: pb.BatchGenerateRepliesRequest, context: _Context
    ) -> pb.BatchGenerateRepliesResponse:
        """See the .proto file."""
        count = len(request.requests)
        if not 1 <= count <= _MAX_BATCH_REQUESTS:
            rule = f"must be 1 to {_MAX_BATCH_REQUESTS}, not {count}"
            raise InvalidRequest([FieldViolation("requests", rule)])
        deadline, request_id = self._deadline(context), _request_id(context)
        items = (self._batch_result(each, deadline, request_id) for each in request.requests)
        return pb.BatchGenerateRepliesResponse(results=await asyncio.gather(*items))

    async def ListModels(
        self, request: pb.ListModelsRequest, context: _Context
    ) -> pb.ListModelsResponse:
        """See the .proto file."""
        return pb.ListModelsResponse(models=[self._model(m.loaded) for m in self._registry])

    async def GetModel(self, request: pb.GetModelRequest, context: _Context) -> pb.GetModelResponse:
        """See the .proto file."""
        return pb.GetModelResponse(model=self._model(self._registry.resolve(request.name).loaded))

    async def GetDiversity(
        self, request: pb.GetDiversityRequest, context: _Context
    ) -> pb.GetDiversityResponse:
        """See the .proto file."""
        name = self._registry.resolve(request.model).loaded.version_name
        figures = [figure for figure in self._live.snapshot() if figure.model == name]
        return pb.GetDiversityResponse(model_version=name, windows=_windows(figures))

    def _deadline(self, context: _Context) -> float:
        """When a call is to end, in the event loop's time."""
        remaining = cast("float | None", context.time_remaining())
        seconds = self._default_deadline_seconds if remaining is None else remaining
        return asyncio.get_running_loop().time() + seconds

    async def _replies(
        self, request: pb.GenerateRepliesRequest, deadline: float
    ) -> pb.GenerateRepliesResponse:
        return _response(await self._responder.respond(_reply_request(request), deadline=deadline))

    async def _put_events(
        self,
        request: pb.GenerateRepliesRequest,
        deadline: float,
        events: asyncio.Queue[pb.StreamRepliesResponse | None],
    ) -> None:
        """Each reply as soon as it is known, then the summary, and None however it ends."""

        def on_reply(index: int, candidate: Candidate) -> None:
            reply = pb.IndexedReply(index=index, reply=_reply(candidate))
            events.put_nowait(pb.StreamRepliesResponse(reply=reply))

        try:
            asked = _reply_request(request)
            response = await self._responder.respond(asked, deadline=deadline, on_reply=on_reply)
            summary = _response(response)
            summary.ClearField("replies")
            events.put_nowait(pb.StreamRepliesResponse(summary=summary))
        finally:
            events.put_nowait(None)

    async def _batch_result(
        self, request: pb.GenerateRepliesRequest, deadline: float, request_id: str
    ) -> pb.BatchResult:
        """One item of a batch: whatever it fails of is its own."""
        try:
            return pb.BatchResult(response=await self._replies(request, deadline))
        except Exception as error:
            return pb.BatchResult(error=status_of(error, request_id))

    def _model(self, model: LoadedModel) -> pb.Model:
        generator = model.generator
        limits, meta = generator.limits, generator.meta
        return pb.Model(
            name=model.model_name,
            version=model.version_name,
            is_default=model is self._registry.default().loaded,
            variant=meta.variant,
            preset=meta.preset,
            corpus=meta.corpus,
            vocabulary_size=limits.vocab_size,
            limits=pb.ModelLimits(
                context_turns=limits.context_turns,
                context_tokens=limits.max_context_tokens,
                reply_tokens=limits.max_reply_tokens,
                reply_count=self._max_replies,
            ),
            default_sampling=_sampling(generator.defaults),
            training=pb.Training(
                commit=meta.commit,
                data_fingerprint=meta.data_fingerprint,
                seed=meta.seed,
                metrics=meta.metrics,
            ),
        )


def _request_id(context: _Context) -> str:
    """What the interceptor calls this call."""
    return str(dict(context.trailing_metadata())[REQUEST_ID])


def requests_in(message: object) -> int:
    """What a message counts as: a batch as the requests in it, as far as it may have so many."""
    if isinstance(message, pb.BatchGenerateRepliesRequest):
        return min(max(1, len(message.requests)), _MAX_BATCH_REQUESTS)
    return 1


def _reply_request(request: pb.GenerateRepliesRequest) -> ReplyRequest:
    turns = request.turns[: MAX_TURNS + 1]  # a message has room for millions, which take seconds
    return ReplyRequest(
        model=request.model,
        turns=tuple(Turn(speaker=turn.speaker, text=turn.text) for turn in turns),
        reply_count=request.reply_count if request.HasField("reply_count") else None,
        sampling=_asked_sampling(request.sampling),
        selection=_asked_selection(request.selection),
        cache_mode=_CACHE_MODES.get(request.cache_mode),
    )


def _asked_sampling(sampling: pb.Sampling) -> AskedSampling:
    has = sampling.HasField
    return AskedSampling(
        temperature=sampling.temperature if has("temperature") else None,
        top_k=sampling.top_k if has("top_k") else None,
        top_p=sampling.top_p if has("top_p") else None,
        max_tokens=sampling.max_tokens if has("max_tokens") else None,
        latent_scale=sampling.latent_scale if has("latent_scale") else None,
        stop=tuple(sampling.stop),
        seed=sampling.seed if has("seed") else None,
    )


def _asked_selection(selection: pb.Selection) -> AskedSelection:
    has = selection.HasField
    return AskedSelection(
        strategy=_STRATEGIES.get(selection.strategy),
        candidate_count=selection.candidate_count if has("candidate_count") else None,
        relevance_weight=selection.relevance_weight if has("relevance_weight") else None,
    )


def _response(response: Response) -> pb.GenerateRepliesResponse:
    answer = response.answer
    return pb.GenerateRepliesResponse(
        replies=[_reply(candidate) for candidate in response.replies],
        model_version=response.model.version_name,
        seed=answer.seed,
        cache=pb.CacheInfo(status=_CACHE_STATUSES[answer.cache], pool_size=answer.pool_size),
        diversity=pb.ReplyDiversity(
            distinct_1=response.distinct_1,
            distinct_2=response.distinct_2,
            unique_replies=len(response.replies),
        ),
        timing=_timing(answer.generated),
        context_truncated=response.context_truncated,
    )


def _reply(candidate: Candidate) -> pb.Reply:
    return pb.Reply(
        text=candidate.text,
        log_prob_nats=candidate.log_prob_nats,
        token_count=candidate.token_count,
        finish_reason=_FINISH_REASONS[candidate.finish_reason],
        relevance=candidate.relevance,
    )


def _timing(generated: Generated | None) -> pb.Timing:
    if generated is None:
        return pb.Timing()
    return pb.Timing(
        queue=_duration(generated.queue_seconds), inference=_duration(generated.inference_seconds)
    )


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def _sampling(defaults: SamplingParameters) -> pb.Sampling:
    return pb.Sampling(
        temperature=defaults.temperature,
        top_k=defaults.top_k,
        top_p=defaults.top_p,
        max_tokens=defaults.max_tokens,
        latent_scale=defaults.latent_scale,
    )


def _windows(figures: list[WindowFigure]) -> list[pb.DiversityWindow]:
    """One window per scope and source, each made of the figures of its two n."""
    ratios = {(f.scope, f.source, f.n): f.distinct_ratio for f in figures}
    return [
        pb.DiversityWindow(
            scope=_SCOPES[figure.scope],
            source=_SOURCES[figure.source],
            window_tokens=figure.window_tokens,
            distinct_1=figure.distinct_ratio,
            distinct_2=ratios.get((figure.scope, figure.source, 2), 0.0),
            is_full=figure.is_full,
        )
        for figure in figures
        if figure.n == 1
    ]
