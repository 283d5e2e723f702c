"""Every Prometheus metric, in one object with a registry of its own, handed to whoever counts.

Base units; no text, caller or trace in a label. ``model`` is a full name,
"models/{name}/versions/{version}", so that figures of two versions never mix.
"""

import contextlib
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from dialog_service.serving.window_figures import WindowFigure

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)
_RATIOS = tuple(step / 10 for step in range(1, 11))


class Metrics:
    """The metrics of one server; also the observer of its cache and of its live figures."""

    def __init__(self) -> None:
        """Make every metric, so that all of them are there from the first scrape."""
        self.registry = CollectorRegistry()
        self._shown: set[tuple[Gauge, tuple[str, ...]]] = set()
        self._requests()
        self._generation()
        self._cache()
        self._diversity()

    def _requests(self) -> None:
        self.requests = Counter(
            "dialog_requests_total",
            "Calls ended, by method and gRPC status code.",
            ["method", "code"],
            registry=self.registry,
        )
        self.request_duration_seconds = Histogram(
            "dialog_request_duration_seconds",
            "From the arrival of a call to its end.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests_shed = Counter(
            "dialog_requests_shed_total",
            "Calls refused to protect the others: queue_full, rate_limit, loading, draining.",
            ["reason"],
            registry=self.registry,
        )
        self.requests_cancelled = Counter(
            "dialog_requests_cancelled_total",
            "Requests dropped because the caller had gone or the deadline passed, by stage.",
            ["stage"],
            registry=self.registry,
        )

    def _generation(self) -> None:
        self.queue_duration_seconds = Histogram(
            "dialog_queue_duration_seconds",
            "From the queue to a batch.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.inference_duration_seconds = Histogram(
            "dialog_inference_duration_seconds",
            "From a request's first decode step to its last, beside others.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_sequences = Histogram(
            "dialog_batch_sequences",
            "Sequences under way when requests begin or join, those asked for with them.",
            buckets=_SEQUENCES,
            registry=self.registry,
        )
        self.queue_depth_sequences = Gauge(
            "dialog_queue_depth_sequences",
            "Sequences waiting for a batch.",
            registry=self.registry,
        )
        self.blocked_candidates = Counter(
            "dialog_blocked_candidates_total",
            "Candidates that held a blocked phrase and were drawn again.",
            registry=self.registry,
        )
        self.model_info = Gauge(
            "dialog_model_info",
            "1 for every model version that is served.",
            ["model", "version", "preset"],
            registry=self.registry,
        )

        self.model_loads = Counter(
            "dialog_model_loads_total",
            "Checkpoints looked into at the start and on reload: ok, or failed and not served.",
            ["result"],
            registry=self.registry,
        )
        for result in ("ok", "failed"):
            self.model_loads.labels(result)

    def _cache(self) -> None:
        self.cache_requests = Counter(
            "dialog_cache_requests_total",
            "Requests answered, by what the cache did: hit, miss, bypass, degraded.",
            ["result"],
            registry=self.registry,
        )
        self.cache_errors = Counter(
            "dialog_cache_errors_total",
            "Redis commands that failed or came too late, by what they were for.",
            ["op"],
            registry=self.registry,
        )
        self.redis_up = Gauge(
            "dialog_redis_up", "1 while Redis answers, else 0.", registry=self.registry
        )

    def _diversity(self) -> None:
        self.replies = Counter(
            "dialog_replies_total", "Replies returned to callers.", registry=self.registry
        )
        self.reply_tokens = Histogram(
            "dialog_reply_tokens",
            "Tokens of a returned reply.",
            buckets=_TOKENS,
            registry=self.registry,
        )
        self.distinct_ratio = Gauge(
            "dialog_distinct_ratio",
            "Dist-n over the window of latest replies; judge it only where the window is full.",
            ["model", "n", "scope", "source"],
            registry=self.registry,
        )
        self.diversity_window_tokens = Gauge(
            "dialog_diversity_window_tokens",
            "Words in the window that dialog_distinct_ratio is about.",
            ["model", "scope", "source"],
            registry=self.registry,
        )
        self.request_distinct_ratio = Histogram(
            "dialog_request_distinct_ratio",
            "Dist-n over the replies of one request.",
            ["model", "n"],
            buckets=_RATIOS,
            registry=self.registry,
        )
        self.request_self_bleu = Histogram(
            "dialog_request_self_bleu",
            "Self-BLEU over the replies of one request, of one a second at most.",
            ["model", "n"],
            buckets=_RATIOS,
            registry=self.registry,
        )

    def on_error(self, op: str) -> None:
        """Count a failed Redis command."""
        self.cache_errors.labels(op).inc()

    def on_redis_up(self, is_up: bool) -> None:
        """Show whether Redis answers."""
        self.redis_up.set(is_up)

    def forget(self, model: str) -> None:
        """Show no more of a model that is no longer served; its gauges go with their figures."""
        for figure, orders in (
            (self.request_distinct_ratio, ("1", "2")),
            (self.request_self_bleu, ("2", "4")),
        ):
            for n in orders:
                with contextlib.suppress(KeyError):
                    figure.remove(model, n)

    def show(self, figures: Iterable[WindowFigure]) -> None:
        """Show the live figures of diversity; those that are no longer among them go."""
        shown: set[tuple[Gauge, tuple[str, ...]]] = set()
        for figure in figures:
            place = (figure.scope, figure.source.value)
            ratio = (self.distinct_ratio, (figure.model, str(figure.n), *place))
            tokens = (self.diversity_window_tokens, (figure.model, *place))
            self.distinct_ratio.labels(*ratio[1]).set(figure.distinct_ratio)
            self.diversity_window_tokens.labels(*tokens[1]).set(figure.window_tokens)
            shown |= {ratio, tokens}
        for gauge, labels in self._shown - shown:
            gauge.remove(*labels)
        self._shown = shown
