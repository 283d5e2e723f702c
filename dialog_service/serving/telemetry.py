"""Spans by OpenTelemetry, sent to a collector over OTLP. Only where the extra [otel] is installed.

The collector of ``otlp_endpoint``, or else that of the standard OTEL_* variables, which also say
what is sampled, how the service is called and which headers to send.
"""

import threading
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dialog_service.serving.tracing import Attribute, Span

_FLUSH_SECONDS = 2.0  # for the last spans, when a server stops


class OtlpTracer:
    """Sends spans in the background; what the collector cannot take is dropped."""

    def __init__(self, endpoint: str | None) -> None:
        """Towards http://HOST:PORT, or https://; None leaves that to OTEL_*."""
        named = Resource.create({"service.name": "dialog-service"})
        self._provider = TracerProvider(
            resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._exporter = OTLPSpanExporter(endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("dialog_service")
        self._propagator = TraceContextTextMapPropagator()

    def call(self, method: str, metadata: Mapping[str, str]) -> Span:
        """The span of a call to a method, in the trace of its ``traceparent``, if any."""
        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(metadata),
            kind=trace.SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
        )
        return _OtelSpan(self._tracer, span)

    def close(self) -> None:
        """Send what is left, as far as the collector takes it soon."""
        giving_up = threading.Timer(_FLUSH_SECONDS, self._exporter.shutdown)
        giving_up.start()
        self._provider.shutdown()
        giving_up.cancel()


class _OtelSpan:
    """A span that is recorded, where it is sampled."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        context = span.get_span_context()
        self.trace_id = trace.format_trace_id(context.trace_id) if context.is_valid else ""

    def child(self, name: str, started_ns: int) -> Span:
        within = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(name, context=within, start_time=started_ns)
        return _OtelSpan(self._tracer, span)

    def note(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self, ended_ns: int) -> None:
        self._span.end(ended_ns)
