"""A model whose replies contain what was said, so that mix-ups show, and real servers around it."""

import contextlib
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import grpc
import torch

from dialog_service.checkpoint import CheckpointMeta
from dialog_service.generation import (
    Candidate,
    FinishReason,
    GenerationRequest,
    GenerationResult,
    ModelLimits,
    SamplingParameters,
)
from dialog_service.replies import Company, most_draws
from dialog_service.serving.app import Addresses, Server
from dialog_service.serving.registry import LoadedModel
from dialog_service.serving.settings import Settings
from dialog_service.stops import before_first
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

META = CheckpointMeta(
    variant="echo",
    preset="none",
    corpus="nothing",
    seed=1,
    commit="abc",
    data_fingerprint="def",
    metrics={"nll": 1.5},
)


class EchoModel:
    """A reply is a function of what was said, the seed and its number, and nothing else.

    Saying "poison" makes it fail. ``hold`` makes it wait, asking whether anybody still cares;
    ``variety`` bounds how many different replies it has; ``early`` replies to each request are
    finished before the wait.
    """

    def __init__(
        self,
        *,
        variety: int = 10**6,
        is_deterministic: bool = False,
        has_matcher: bool = False,
        fingerprint: str = "0123456789abcdef",
    ) -> None:
        self.limits = ModelLimits(
            max_context_tokens=20, max_reply_tokens=40, vocab_size=1000, context_turns=2
        )
        self.defaults = SamplingParameters()
        self.meta = META
        self.arithmetic, self.device = "no", torch.device("cpu")
        self.is_deterministic = is_deterministic
        self.has_matcher = has_matcher
        self.variety = variety
        self.fingerprint = fingerprint
        self.seconds = 0.0
        self.early = 0
        self.batches: list[list[GenerationRequest]] = []
        self.finished: list[GenerationRequest] = []
        self.warm_ups: list[str] = []  # the threads they were on
        self._released = threading.Event()
        self._released.set()

    def hold(self) -> None:
        """Let every batch from now on wait for ``release``."""
        self._released.clear()

    def release(self) -> None:
        """Let batches go on."""
        self._released.set()

    @property
    def has_begun(self) -> bool:
        """Whether a batch has come to where it is held."""
        return bool(self.batches)

    def truncates(self, turns: Sequence[str]) -> bool:
        return len(turns[-1]) > 200

    def warm_up(self, reply_count: int) -> None:
        self.warm_ups.append(threading.current_thread().name)

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        is_abandoned: Callable[[int], bool],
        on_reply: Callable[[int, int, Candidate], None],
        company: Company,
    ) -> list[GenerationResult | None]:
        self.batches.append(list(requests))
        for index, request in enumerate(requests):
            for number, candidate in enumerate(self._candidates(request)[: self.early]):
                on_reply(index, number, candidate)
        time.sleep(self.seconds)
        gone: set[int] = set()
        is_released = False
        while not is_released and len(gone) < len(requests):
            is_released = self._released.wait(0.002)
            gone |= {index for index in range(len(requests)) if is_abandoned(index)}
        if any("poison" in request.turns[-1] for request in requests):
            raise RuntimeError("a secret of the model")
        results = [
            None if index in gone else self._result(request)
            for index, request in enumerate(requests)
        ]
        for index, result in enumerate(results):
            for number, candidate in enumerate(result.candidates if result else ()):
                if number >= self.early:
                    on_reply(index, number, candidate)
        return results

    def _result(self, request: GenerationRequest) -> GenerationResult:
        self.finished.append(request)
        candidates, wanted = self._candidates(request), request.reply_count
        return GenerationResult(
            candidates=candidates,
            draws=most_draws(wanted) if len(candidates) < wanted else wanted,
            context_truncated=self.truncates(request.turns),
        )

    def _candidates(self, request: GenerationRequest) -> tuple[Candidate, ...]:
        texts: dict[str, None] = {}
        for draw in range(4 * request.reply_count + 64):
            key = hashlib.sha256(f"{request.seed} {draw}".encode()).digest()
            text = f"{request.turns[-1]} / {int.from_bytes(key[:8], 'big') % self.variety}"
            text = before_first(text, request.sampling.stop)
            if text and text not in request.excluded and len(texts) < request.reply_count:
                texts[text] = None
        is_rated = request.is_rated and self.has_matcher
        return tuple(_candidate(text, relevance_of(text) if is_rated else None) for text in texts)


def relevance_of(text: str) -> float:
    """What an echo model with a matcher says of one of its replies."""
    return hashlib.sha256(text.encode()).digest()[0] / 255


def _candidate(text: str, relevance: float | None) -> Candidate:
    return Candidate(
        text=text,
        log_prob_nats=-2.5,
        token_count=7,
        finish_reason=FinishReason.END,
        relevance=relevance,
    )


def loaded(model: EchoModel, *, name: str = "echo", version: str = "1") -> LoadedModel:
    return LoadedModel(
        name=name,
        version=version,
        fingerprint=model.fingerprint,
        generator=model,
    )


def no_model(*_: object) -> LoadedModel:
    """For servers that fail before they load one."""
    raise AssertionError("nothing was to be loaded")


@dataclass(frozen=True)
class Running:
    """A server, the model behind it, and a stub to call it with."""

    server: Server
    model: EchoModel
    addresses: Addresses
    stub: dialog_pb2_grpc.DialogServiceStub
    channel: grpc.aio.Channel

    async def ask(self, text: str = "hello", **fields: object) -> pb.GenerateRepliesResponse:
        request = pb.GenerateRepliesRequest(turns=[pb.Turn(text=text)], **fields)
        return await self.stub.GenerateReplies(request, timeout=60)

    def metric(self, name: str, **labels: str) -> float:
        return self.server.metrics.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def running(
    model: EchoModel | None = None,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: object,
) -> AsyncIterator[Running]:
    """A real gRPC server on a free port; no cache unless ``redis_url`` is given.

    A busy machine's Redis is waited for: most tests are about what is in a pool.

    ``credentials`` are those of the channel; without them it speaks no TLS. ``clock`` is that of
    rate limits.
    """
    model = model or EchoModel()
    chosen = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": "off"}
    chosen["cache_timeout_seconds"] = 10.0
    server = Server(Settings(**{**chosen, **settings}), load=lambda *_: loaded(model), clock=clock)
    addresses = await server.start()
    try:
        async with _channel(addresses.grpc, credentials) as channel:
            stub = dialog_pb2_grpc.DialogServiceStub(channel)
            yield Running(server, model, addresses, stub, channel)
    finally:
        model.release()
        await server.close()


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials:
        return grpc.aio.secure_channel(target, credentials)
    return grpc.aio.insecure_channel(target)
