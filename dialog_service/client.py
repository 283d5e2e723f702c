"""Clients of the service: ``DialogClient`` and, with the same methods to await, its async twin.

    with DialogClient("localhost:50051") as client:
        for reply in client.ask("How was your day?", reply_count=5).replies:
            print(reply.text)

``tls=Tls(ca=...)`` and ``token=...`` are for a server that speaks TLS or asks for a bearer token.

``DialogClient("dns:///dialog-service:50051")`` spreads its calls over all replicas that the name
resolves to; without ``dns:///`` one of them gets everything.

Every call has a deadline. A call that ends with UNAVAILABLE (the server is starting, draining or
gone) is tried again with growing pauses, within that deadline; no other call is.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]

from dialog_service.errors import ConfigError, DialogError, FieldViolation
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

DEFAULT_TARGET = "localhost:50051"
DEFAULT_TIMEOUT_SECONDS = 30.0
REQUEST_ID = "x-request-id"
_SERVICE = pb.DESCRIPTOR.services_by_name["DialogService"].full_name
_RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": _SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_IN_TURNS: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
_SEVERAL_ADDRESSES = ("dns:", "ipv4:", "ipv6:")
_PLAIN: tuple[tuple[str, Any], ...] = (("grpc.use_local_subchannel_pool", 1),)
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to speak TLS; every file is PEM.

    ``ca`` holds the authorities that may have signed the server's certificate, by default those
    that gRPC brings along. ``cert`` and ``key`` are the client's own, for a server that asks for
    them. ``server_name`` is what the server's certificate is for, where the target says otherwise.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel; raises ConfigError where a file is missing."""
        if bool(self.cert) != bool(self.key):
            raise ConfigError("a client's certificate and its key go together")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))

    def options(self) -> tuple[tuple[str, Any], ...]:
        """Of a channel."""
        return (("grpc.ssl_target_name_override", self.server_name),) if self.server_name else ()


class CallFailed(DialogError):
    """A call ended without an answer.

    ``target`` is who was called; ``status`` the name of a gRPC status code; ``violations`` the
    fields of an INVALID_ARGUMENT; ``request_id`` what the server's logs call this call, empty
    where no server answered.
    """

    def __init__(self, target: str, error: grpc.RpcError) -> None:
        """From the error of either API, which are alike in what they can tell."""
        call = cast(Any, error)
        self.target = target
        self.status: str = call.code().name
        self.message: str = call.details() or ""
        trailers = call.trailing_metadata() or ()
        self.request_id = next((str(v) for key, v in trailers if key == REQUEST_ID), "")
        self.violations = tuple(_violations(call))
        super().__init__(f"{self.status}: {self.message}")


class DialogClient:
    """Blocking client; may be shared by threads."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        tls: Tls | None = None,
        token: str = "",
    ) -> None:
        """Connect with the first call, to HOST:PORT or any other gRPC target.

        To a target of several addresses, dns:///NAME:PORT or ipv4:HOST:PORT,HOST:PORT, calls take
        turns. Without ``tls`` everything travels in the clear, the token too.
        """
        self._target = target
        if tls:
            self._channel = grpc.secure_channel(
                target, tls.credentials(), (*_options(target), *tls.options())
            )
        else:
            self._channel = grpc.insecure_channel(target, _options(target))
        self._metadata = _metadata(token)
        self._stub = dialog_pb2_grpc.DialogServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._timeout_seconds = timeout_seconds

    def ask(
        self,
        text: str,
        *,
        reply_count: int | None = None,
        seed: int | None = None,
        model: str = "",
    ) -> pb.GenerateRepliesResponse:
        """Replies to one utterance, everything else left to the server; raises CallFailed."""
        return self.generate_replies(_request(text, reply_count, seed, model))

    def generate_replies(self, request: pb.GenerateRepliesRequest) -> pb.GenerateRepliesResponse:
        """Replies to a dialog; raises CallFailed."""
        return self._call(self._stub.GenerateReplies, request)

    def stream_replies(
        self, request: pb.GenerateRepliesRequest
    ) -> Iterator[pb.StreamRepliesResponse]:
        """Each reply as soon as it is finished, then a summary of all else.

        Raises CallFailed, perhaps after some replies. Who leaves the loop early closes the iterator
        (``contextlib.closing``), or leaves that to its end: the server then stops the work.
        """
        call = self._stub.StreamReplies(
            pb.StreamRepliesRequest(request=request),
            timeout=self._timeout_seconds,
            metadata=self._metadata,
        )
        try:
            yield from call
        except grpc.RpcError as error:
            raise CallFailed(self._target, error) from error
        finally:
            call.cancel()

    def batch_generate_replies(
        self, requests: Iterable[pb.GenerateRepliesRequest]
    ) -> pb.BatchGenerateRepliesResponse:
        """Replies to up to 64 dialogs, one result each in their order; raises CallFailed.

        An item that fails has an ``error`` where the others have a ``response``.
        """
        request = pb.BatchGenerateRepliesRequest(requests=requests)
        return self._call(self._stub.BatchGenerateReplies, request)

    def list_models(self) -> pb.ListModelsResponse:
        """Every model; raises CallFailed."""
        return self._call(self._stub.ListModels, pb.ListModelsRequest())

    def get_model(self, name: str = "") -> pb.GetModelResponse:
        """One model, by default the server's default; raises CallFailed."""
        return self._call(self._stub.GetModel, pb.GetModelRequest(name=name))

    def get_diversity(self, model: str = "") -> pb.GetDiversityResponse:
        """Live Dist-1 and Dist-2 of a model, by default the default one; raises CallFailed."""
        return self._call(self._stub.GetDiversity, pb.GetDiversityRequest(model=model))

    def is_ready(self) -> bool:
        """Whether the service takes requests: not where nobody answers; else raises CallFailed."""
        try:
            return self.check_ready()
        except CallFailed as failed:
            if failed.status in _NO_ANSWER:
                return False
            raise

    def check_ready(self) -> bool:
        """As ``is_ready``, but raises CallFailed, which says why, where nobody answers too."""
        return _is_serving(self._call(self._health.Check, _health_request()))

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self.close()

    def _call(self, method: Callable[..., Response], request: object) -> Response:
        try:
            return method(request, timeout=self._timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise CallFailed(self._target, error) from error


class AsyncDialogClient:
    """Client for asyncio; belongs to the event loop it was made in."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        tls: Tls | None = None,
        token: str = "",
        is_plain: bool = False,
    ) -> None:
        """Connect with the first call, to HOST:PORT or any other gRPC target.

        To a target of several addresses, dns:///NAME:PORT or ipv4:HOST:PORT,HOST:PORT, calls take
        turns. Without ``tls`` everything travels in the clear, the token too. A plain client tries
        nothing twice and has a connection of its own, as one that measures a service must.
        """
        self._target = target
        options = _PLAIN if is_plain else _options(target)
        if tls:
            options += tls.options()
            self._channel = grpc.aio.secure_channel(target, tls.credentials(), options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        self._metadata = _metadata(token)
        self._stub = dialog_pb2_grpc.DialogServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._timeout_seconds = timeout_seconds

    async def ask(
        self,
        text: str,
        *,
        reply_count: int | None = None,
        seed: int | None = None,
        model: str = "",
    ) -> pb.GenerateRepliesResponse:
        """Replies to one utterance, everything else left to the server; raises CallFailed."""
        return await self.generate_replies(_request(text, reply_count, seed, model))

    async def generate_replies(
        self, request: pb.GenerateRepliesRequest
    ) -> pb.GenerateRepliesResponse:
        """Replies to a dialog; raises CallFailed."""
        return await self._call(self._stub.GenerateReplies, request)

    async def stream_replies(
        self, request: pb.GenerateRepliesRequest
    ) -> AsyncIterator[pb.StreamRepliesResponse]:
        """Each reply as soon as it is finished, then a summary of all else.

        Raises CallFailed, perhaps after some replies. Who leaves the loop early closes the iterator
        (``contextlib.aclosing``), or leaves that to its end: the server then stops the work.
        """
        call = self._stub.StreamReplies(
            pb.StreamRepliesRequest(request=request),
            timeout=self._timeout_seconds,
            metadata=self._metadata,
        )
        try:
            async for event in call:
                yield event
        except grpc.RpcError as error:
            raise CallFailed(self._target, error) from error
        finally:
            call.cancel()

    async def batch_generate_replies(
        self, requests: Iterable[pb.GenerateRepliesRequest]
    ) -> pb.BatchGenerateRepliesResponse:
        """Replies to up to 64 dialogs, one result each in their order; raises CallFailed.

        An item that fails has an ``error`` where the others have a ``response``.
        """
        request = pb.BatchGenerateRepliesRequest(requests=requests)
        return await self._call(self._stub.BatchGenerateReplies, request)

    async def list_models(self) -> pb.ListModelsResponse:
        """Every model; raises CallFailed."""
        return await self._call(self._stub.ListModels, pb.ListModelsRequest())

    async def get_model(self, name: str = "") -> pb.GetModelResponse:
        """One model, by default the server's default; raises CallFailed."""
        return await self._call(self._stub.GetModel, pb.GetModelRequest(name=name))

    async def get_diversity(self, model: str = "") -> pb.GetDiversityResponse:
        """Live Dist-1 and Dist-2 of a model, by default the default one; raises CallFailed."""
        return await self._call(self._stub.GetDiversity, pb.GetDiversityRequest(model=model))

    async def is_ready(self) -> bool:
        """Whether the service takes requests: not where nobody answers; else raises CallFailed."""
        try:
            return await self.check_ready()
        except CallFailed as failed:
            if failed.status in _NO_ANSWER:
                return False
            raise

    async def check_ready(self) -> bool:
        """As ``is_ready``, but raises CallFailed, which says why, where nobody answers too."""
        return _is_serving(await self._call(self._health.Check, _health_request()))

    async def close(self) -> None:
        """Disconnect."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self.close()

    async def _call(self, method: Callable[..., Awaitable[Response]], request: object) -> Response:
        try:
            return await method(request, timeout=self._timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise CallFailed(self._target, error) from error


def _options(target: str) -> tuple[tuple[str, Any], ...]:
    """Of a channel: retries, and turns where there may be several servers."""
    config = _RETRIES | (_IN_TURNS if target.startswith(_SEVERAL_ADDRESSES) else {})
    return (("grpc.service_config", json.dumps(config)), ("grpc.enable_retries", 1))


def _request(
    text: str, reply_count: int | None, seed: int | None, model: str
) -> pb.GenerateRepliesRequest:
    return pb.GenerateRepliesRequest(
        model=model,
        turns=[pb.Turn(text=text)],
        reply_count=reply_count,
        sampling=pb.Sampling(seed=seed),
    )


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    """What shows a token; white space around it, as the end of a file's line, is none of it."""
    return (("authorization", f"Bearer {token.strip()}"),) if token else ()


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _health_request() -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=_SERVICE)


def _is_serving(response: health_pb2.HealthCheckResponse) -> bool:
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def _violations(call: object) -> Iterable[FieldViolation]:
    """The violated fields that the status of a call lists."""
    status = rpc_status.from_call(call)
    request = error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        if detail.Unpack(request):
            yield from (FieldViolation(v.field, v.description) for v in request.field_violations)
