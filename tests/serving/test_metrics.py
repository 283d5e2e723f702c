"""What /metrics shows."""

import pytest
from prometheus_client import generate_latest

from dialog_service.serving.live_diversity import Source, WindowFigure
from dialog_service.serving.metrics import Metrics

NAMES = [
    "dialog_requests_total",
    "dialog_request_duration_seconds",
    "dialog_queue_duration_seconds",
    "dialog_inference_duration_seconds",
    "dialog_batch_sequences",
    "dialog_queue_depth_sequences",
    "dialog_requests_shed_total",
    "dialog_requests_cancelled_total",
    "dialog_cache_requests_total",
    "dialog_cache_errors_total",
    "dialog_redis_up",
    "dialog_replies_total",
    "dialog_blocked_candidates_total",
    "dialog_reply_tokens",
    "dialog_distinct_ratio",
    "dialog_diversity_window_tokens",
    "dialog_request_distinct_ratio",
    "dialog_request_self_bleu",
    "dialog_model_info",
    "dialog_model_loads_total",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_described_from_the_first_scrape(name: str):
    assert f"# HELP {name} " in generate_latest(Metrics().registry).decode()


def test_two_servers_in_one_process_do_not_share_figures():
    first, second = Metrics(), Metrics()
    first.replies.inc(3)
    assert second.registry.get_sample_value("dialog_replies_total") == 0


def test_what_the_cache_tells_is_shown():
    metrics = Metrics()
    metrics.on_error("draw")
    metrics.on_redis_up(True)
    value = metrics.registry.get_sample_value
    assert value("dialog_cache_errors_total", {"op": "draw"}) == 1
    assert value("dialog_redis_up") == 1
    metrics.on_redis_up(False)
    assert value("dialog_redis_up") == 0


def figure(n: int, scope: str, source: Source, ratio: float) -> WindowFigure:
    return WindowFigure(
        model="models/wed/versions/1",
        n=n,
        scope=scope,
        source=source,
        distinct_ratio=ratio,
        window_tokens=500,
        is_full=False,
    )


def test_figures_of_diversity_keep_scope_and_source_apart():
    metrics = Metrics()
    metrics.show(
        figure(n, scope, source, n / 10 + bonus)
        for n in (1, 2)
        for scope, source, bonus in (
            ("replica", Source.FRESH, 0.0),
            ("fleet", Source.CACHE, 0.5),
        )
    )
    value = metrics.registry.get_sample_value
    labels = {"model": "models/wed/versions/1", "scope": "fleet", "source": "cache"}
    assert value("dialog_distinct_ratio", {**labels, "n": "2"}) == 0.7
    assert value("dialog_diversity_window_tokens", labels) == 500
    replica = {**labels, "scope": "replica", "source": "fresh", "n": "1"}
    assert value("dialog_distinct_ratio", replica) == 0.1


def test_a_figure_that_is_no_longer_known_is_no_longer_shown():
    metrics = Metrics()
    own, fleet = (figure(1, scope, Source.FRESH, 0.3) for scope in ("replica", "fleet"))
    metrics.show([own, fleet])
    metrics.show([own])
    value = metrics.registry.get_sample_value
    labels = {"model": own.model, "source": "fresh"}
    for scope, tokens, ratio in (("replica", 500, 0.3), ("fleet", None, None)):
        window = {**labels, "scope": scope}
        assert value("dialog_diversity_window_tokens", window) == tokens
        assert value("dialog_distinct_ratio", {**window, "n": "1"}) == ratio
    metrics.show([own, fleet])
    assert value("dialog_diversity_window_tokens", {**labels, "scope": "fleet"}) == 500
