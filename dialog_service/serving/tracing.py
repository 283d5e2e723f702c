"""Spans: what a call does and how long each part of it takes. Knows no OpenTelemetry.

The span of the call that is being answered is known wherever its work is done, so that a stage
needs nothing but a name. Where nobody traces, a span is nothing. None holds a word of what is said.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Protocol

from dialog_service.errors import ConfigError

Attribute = str | int | float | bool
_ENVIRONMENT = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_MISSING = "asks for traces, which need: pip install 'dialog-service[otel]'"
_log = logging.getLogger(__name__)


class Span(Protocol):
    """Something that takes time. ``trace_id`` is 32 hexadecimal digits, or empty."""

    trace_id: str

    def child(self, name: str, started_ns: int) -> "Span":
        """A span within this one, since a time of ``time.time_ns``."""

    def note(self, name: str, value: Attribute) -> None:
        """Attach a fact."""

    def fail(self, kind: str) -> None:
        """It went wrong; ``kind`` names an error and tells nothing else of it."""

    def end(self, ended_ns: int) -> None:
        """It is over, since a time of ``time.time_ns``."""


class Tracer(Protocol):
    """Makes the spans of calls, and sends them to where they are collected."""

    def call(self, method: str, metadata: Mapping[str, str]) -> Span:
        """The span of a call to a method, in the trace that its metadata names, if any."""

    def close(self) -> None:
        """Send what is left; blocks, two seconds or so at most."""


class NoSpan:
    """Nothing."""

    trace_id = ""

    def child(self, name: str, started_ns: int) -> Span:
        """Nothing within it."""
        return self

    def note(self, name: str, value: Attribute) -> None:
        """To nobody."""

    def fail(self, kind: str) -> None:
        """Unseen."""

    def end(self, ended_ns: int) -> None:
        """It never was."""


class NoTracer:
    """Traces nothing."""

    def call(self, method: str, metadata: Mapping[str, str]) -> Span:
        """Nothing."""
        return _NO_SPAN

    def close(self) -> None:
        """Nothing is left."""


_NO_SPAN = NoSpan()
_NOTHING = contextlib.nullcontext(_NO_SPAN)  # has no state: one serves all
_current: ContextVar[Span] = ContextVar("span", default=_NO_SPAN)  # nor has this


def tracer_for(endpoint: str | None) -> Tracer:
    """What sends spans to the collector of this URL, or of OTEL_*; where none is named, nothing.

    Raises:
        ConfigError: ``endpoint`` asks for OpenTelemetry, and it is not installed. OTEL_* do not
            ask: they may be there for every program of a cluster.
    """
    named = [name for name in _ENVIRONMENT if os.environ.get(name)]
    if not (endpoint or named):
        return NoTracer()
    try:
        from dialog_service.serving.telemetry import OtlpTracer
    except ModuleNotFoundError as error:
        if endpoint:
            raise ConfigError(f"otlp_endpoint {_MISSING}") from error
        _log.warning("no traces: %s %s", named[0], _MISSING)
        return NoTracer()
    return OtlpTracer(endpoint)


def current() -> Span:
    """The span of the call or stage that is under way."""
    return _current.get()


def within(span: Span) -> contextlib.AbstractContextManager[Span]:
    """Make a span the present one, and end it."""
    return _NOTHING if span is _NO_SPAN else _within(span)


def stage(name: str) -> contextlib.AbstractContextManager[Span]:
    """A part of the present span; an error that ends it is noted by its type alone."""
    return _NOTHING if _current.get() is _NO_SPAN else _stage(name)


@contextlib.contextmanager
def _within(span: Span) -> Iterator[Span]:
    token = _current.set(span)
    try:
        yield span
    finally:
        with contextlib.suppress(ValueError):  # work that nobody finished is closed from elsewhere
            _current.reset(token)
        span.end(time.time_ns())


@contextlib.contextmanager
def _stage(name: str) -> Iterator[Span]:
    with within(_current.get().child(name, time.time_ns())) as span:
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)
            raise


def record(name: str, started: float, ended: float) -> None:
    """A part of the present span that is over; times are the event loop's."""
    now, now_ns = asyncio.get_running_loop().time(), time.time_ns()
    span = _current.get().child(name, now_ns - int(1e9 * (now - started)))
    span.end(now_ns - int(1e9 * (now - ended)))
