"""What every call gets: its caller, admission, a request id, a status, figures and a log line.

Knows no message of the API.
"""

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError

from dialog_service.errors import FieldViolation, InvalidRequest, NotReady, RequestError
from dialog_service.serving import tracing
from dialog_service.serving.admission import Admission
from dialog_service.serving.health import SERVICE
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.security import Callers
from dialog_service.serving.statuses import status_of

REQUEST_ID = "x-request-id"
_DETAILS = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FIT_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
# Of calls that end with these the server is to blame, by OpenTelemetry's conventions.
_FAILURES = ("DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED")
_Handler = Any  # grpc.RpcMethodHandler, whose types are those of the synchronous API
_Context = grpc.aio.ServicerContext[Any, Any]
_log = logging.getLogger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the methods of our service; others (health, reflection) pass untouched."""

    def __init__(
        self,
        callers: Callers,
        admission: Admission,
        metrics: Metrics,
        tracer: tracing.Tracer,
        requests_in: Callable[[object], int],
    ) -> None:
        """``requests_in`` is what a message counts as."""
        self._prefix = f"/{SERVICE}/"
        self._callers = callers
        self._admission = admission
        self._metrics = metrics
        self._tracer = tracer
        self._requests_in = requests_in

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """The handler of a call, wrapped."""
        handler = await continuation(handler_call_details)
        name = handler_call_details.method
        if handler is None or not name.startswith(self._prefix):
            return handler
        return self._wrapped(handler, name.removeprefix(self._prefix))

    def _wrapped(self, handler: _Handler, method: str) -> _Handler:
        async def unary(data: bytes, context: _Context) -> object:
            request = _message(handler, data)
            requests = self._requests_in(request)
            with self._span(method, context):
                async with self._call(method, context, requests) as request_id:
                    response = await handler.unary_unary(_readable(request), context)
                    await context.send_initial_metadata(((REQUEST_ID, request_id),))
                    return response

        # A coroutine that writes, not a generator: a call that ends early ends it where it is.
        async def stream(data: bytes, context: _Context) -> None:
            request = _message(handler, data)
            with self._span(method, context):
                async with self._call(method, context, self._requests_in(request)):
                    await handler.unary_stream(_readable(request), context)

        # Bytes are taken apart in the call: gRPC would end one that it cannot read with UNKNOWN.
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

    def _span(
        self, method: str, context: _Context
    ) -> contextlib.AbstractContextManager[tracing.Span]:
        """Around everything that belongs to one call."""
        texts = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
        return tracing.within(self._tracer.call(f"{SERVICE}/{method}", texts))

    @contextlib.asynccontextmanager
    async def _call(self, method: str, context: _Context, requests: int) -> AsyncIterator[str]:
        """Around one call: however it ends, it ends with a status, a count and a log line."""
        started = time.perf_counter()
        request_id = _request_id(context)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        code = "OK"
        failure: BaseException | None = None
        try:
            self._callers.admit(context, requests)
            with self._admission.request():
                yield request_id
        except RequestError as error:
            code, failure = error.status, error
        except asyncio.CancelledError as error:
            code = _code_of_cancelled(context)
            if _is_cancelled():
                raise
            # Nobody has cancelled this call, so the error is a stray one, and to let it out would
            # leave the caller without an answer (grpc #29248).
            code, failure = "INTERNAL", error
        except Exception as error:
            code, failure = "INTERNAL", error
        finally:
            self._record(method, code, time.perf_counter() - started, request_id)
        if failure:
            await self._abort(failure, request_id, context)

    async def _abort(self, error: BaseException, request_id: str, context: _Context) -> None:
        """End a call with the status of an error."""
        if isinstance(error, NotReady):
            self._metrics.requests_shed.labels(self._admission.phase.value).inc()
            await self._admission.wait_to_refuse()
        status = status_of(error, request_id)
        trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id)]
        if status.details:
            trailers.append((_DETAILS, status.SerializeToString()))
        await context.abort(_CODES[status.code], status.message, tuple(trailers))

    def _record(self, method: str, code: str, seconds: float, request_id: str) -> None:
        self._metrics.requests.labels(method, code).inc()
        self._metrics.request_duration_seconds.labels(method).observe(seconds)
        line = {"code": code, "milliseconds": round(1000 * seconds, 1), "request_id": request_id}
        _log.info(method, extra=line)
        span = tracing.current()
        span.note("rpc.response.status_code", code)
        span.note("dialog.request_id", request_id)
        if code in _FAILURES:
            span.fail(code)


def _message(handler: _Handler, data: bytes) -> object:
    """What a caller sent, or the error to answer with where it is no message of that type."""
    try:
        return handler.request_deserializer(data)
    except DecodeError:
        return InvalidRequest([FieldViolation("", "the bytes are no message of this method")])


def _readable(request: object) -> object:
    """The request itself; raises InvalidRequest where it could not be read."""
    if isinstance(request, InvalidRequest):
        raise request
    return request


def _request_id(context: _Context) -> str:
    """The caller's own where it is fit for logs and headers, or else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and _FIT_REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _code_of_cancelled(context: _Context) -> str:
    """Why a call was cancelled: its deadline passed, if it has one, or its caller has gone."""
    remaining = cast("float | None", context.time_remaining())
    return "DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED"


def _is_cancelled() -> bool:
    """Whether somebody asked for the present task to be cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
