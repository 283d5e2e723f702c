"""Every query in deploy/ names metrics, labels and values that a real server exports."""

import contextlib
import re
from collections.abc import Iterator

import pytest
from documents import (
    ADAPTER,
    KUBERNETES,
    alerts,
    manifest,
    panels,
    read_dashboard,
    read_yaml,
    rules,
    variables,
)
from exports import exported
from queries import Exported, WrongQuery

from dialog_service.serving.settings import Settings

RECORDED = [(rule["record"], rule["expr"]) for rule in rules() if "record" in rule]
ALERTS = alerts()
TARGETS = [
    pytest.param(target, id=f"{panel['title']} {target['refId']}")
    for panel in panels()
    for target in panel["targets"]
]


@pytest.fixture(scope="module")
def plain() -> Exported:
    """What a server exports."""
    return exported()


@pytest.fixture(scope="module")
def known(plain: Exported) -> Exported:
    """What a server exports, and what is recorded from it; a rule that is wrong records nothing."""
    series = plain
    for name, query in RECORDED:
        with contextlib.suppress(WrongQuery):
            series = series.recording(name, query)
    return series


def of_dashboard(query: str) -> str:
    """A panel's query with the dashboard's variables filled in."""
    filled = query.replace("$__rate_interval", "5m")
    for variable in read_dashboard()["templating"]["list"]:
        filled = filled.replace(f"${variable['name']}", variable["allValue"])
    return filled


def of_adapter(rule: dict) -> str:
    """The query that the adapter makes of its template, for one metric of the pods."""
    (series,) = re.findall(r"^\w+", rule["seriesQuery"])
    query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
    return query.replace("<<.LabelMatchers>>", 'namespace="n",pod=~"p"')


def placeholders(text: str) -> Iterator[str]:
    """Labels that a legend shows."""
    return (found.strip() for found in re.findall(r"{{(.*?)}}", text))


@pytest.mark.parametrize(("name", "query"), RECORDED, ids=[name for name, _ in RECORDED])
def test_what_is_recorded_is_exported(known: Exported, name: str, query: str):
    known.check(query)
    assert name in known.series


def test_recorded_names_are_their_own(plain: Exported):
    names = [name for name, _ in RECORDED]
    assert len(set(names)) == len(names)
    assert not set(names) & set(plain.series)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_what_is_exported(known: Exported, name: str):
    found = known.check(ALERTS[name]["expr"]) or {}
    written = " ".join(ALERTS[name]["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", written)) <= set(found)


@pytest.mark.parametrize("target", TARGETS)
def test_a_panel_asks_for_what_is_exported(known: Exported, target: dict):
    query = of_dashboard(target["expr"])
    assert "$" not in query
    assert set(placeholders(target["legendFormat"])) <= set(known.check(query) or {})


def test_the_dashboards_variables_come_from_labels_that_are_exported(known: Exported):
    for variable in read_dashboard()["templating"]["list"]:
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert asked
        assert asked[2] in known.labels_of(asked[1])


def test_the_autoscaler_asks_for_what_the_adapter_makes_of_an_exported_metric(plain: Exported):
    (asked,) = manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    in_cluster = Exported(plain.series, frozenset({"instance", "job", "namespace", "pod"}))
    (rule,) = read_yaml(ADAPTER)["rules"]["custom"]
    in_cluster.check(rule["seriesQuery"])
    assert set(in_cluster.check(of_adapter(rule)) or {}) == {"pod"}
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    assert asked["pods"]["metric"]["name"] == rule["name"]["as"]


def test_the_numbers_in_the_rules_are_those_of_the_settings():
    settings = Settings()
    deployed = variables(KUBERNETES / "service" / "settings.env")
    (window,) = [query for name, query in RECORDED if name == "dialog:distinct_ratio:full_window"]
    assert window.endswith(f">= {settings.diversity_window_tokens}")
    assert deployed["DIALOG_DIVERSITY_WINDOW_TOKENS"] == str(settings.diversity_window_tokens)
    queue = ALERTS["DialogQueueFillsUp"]
    assert queue["expr"].endswith(f"> {settings.queue_capacity_sequences // 2}")
    assert f"refused at {settings.queue_capacity_sequences}" in queue["annotations"]["summary"]
    (asked,) = manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert asked["pods"]["target"]["averageValue"] == str(settings.max_batch_sequences)


def test_diversity_is_judged_over_full_windows_only():
    judging = [name for name, rule in ALERTS.items() if "distinct_ratio" in rule["expr"]]
    assert sorted(judging) == ["DialogCacheEatsDiversity", "DialogDiversityLow"]
    for name in judging:
        asked = set(re.findall(r"[\w:]*distinct_ratio[\w:]*", ALERTS[name]["expr"]))
        assert asked == {"dialog:distinct_ratio:full_window"}


def test_a_runbook_names_panels_alerts_and_settings_that_there_are():
    titles = {panel["title"] for panel in panels()}
    for rule in ALERTS.values():
        named = re.findall(r'"([A-Z][^"]+)"', rule["annotations"]["runbook"])
        assert set(named) <= titles
        others = re.findall(r"\bDialog[A-Z]\w+", rule["annotations"]["runbook"])
        assert set(others) <= set(ALERTS)
        shown = re.findall(r"DIALOG_(\w+)", rule["annotations"]["runbook"])
        assert {name.lower() for name in shown} <= set(Settings.model_fields)


WRONG = {
    "no such metric": "sum(rate(dialog_request_total[5m]))",
    "no such metric of a histogram": "dialog_request_duration_seconds",
    "no such label": 'dialog_requests_total{status="OK"}',
    "no such code": 'dialog_requests_total{code=~"INTERNAL|BROKEN"}',
    "no such method": 'dialog_requests_total{method="Generate"}',
    "no such bucket": 'dialog_request_duration_seconds_bucket{le="0.3"}',
    "no such source": 'dialog_distinct_ratio{source="cached"}',
    "grouped by no label": "sum by (reason) (rate(dialog_requests_total[5m]))",
    "quantile without le": "histogram_quantile(0.9, sum(rate(dialog_reply_tokens_bucket[5m])))",
    "sides without a match": "dialog_distinct_ratio and dialog_diversity_window_tokens",
    "on a label of one side": "dialog_distinct_ratio and on (n) dialog_diversity_window_tokens",
    "a recorded metric that is not": "dialog:slow_calls:ratio_rate2h > 1",
    "no PromQL": "sum by (method (rate(dialog_requests_total[5m]))",
    "a range where none may be": "dialog_redis_up[5m] == 0",
}


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG.keys())
def test_the_check_can_fail(known: Exported, query: str):
    with pytest.raises(WrongQuery):
        known.check(query)


@pytest.mark.parametrize(
    "query",
    [
        'sum without (code) (rate(dialog_requests_total{method!="GenerateReplies"}[5m])) > 0.5',
        "max_over_time(dialog_queue_depth_sequences[1h:1m]) - -1",
        "dialog_distinct_ratio * ignoring (n) dialog_diversity_window_tokens",
        "14.4 * 0.01",
    ],
)
def test_the_check_lets_what_is_right_pass(known: Exported, query: str):
    known.check(query)
