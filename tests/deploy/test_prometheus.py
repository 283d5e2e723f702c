"""The alerts tell an operator what to do; Prometheus's own tool reads and runs them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from documents import DEPLOY, RULES, alerts, read_dashboard, read_yaml

CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
UNIT_TESTS = Path(__file__).with_name("rules.test.yml")
ALERTS = alerts()
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on the PATH: sudo apt-get install prometheus"
)


def promtool(*arguments: str | Path) -> str:
    """What it prints; it must find nothing wrong."""
    command = [PROMTOOL or "", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_what_to_do(name: str):
    rule = ALERTS[name]
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert len(rule["annotations"]["summary"]) <= 140
    assert len(rule["annotations"]["runbook"].split()) >= 40
    assert "for" in rule


def test_what_the_service_promises_has_an_alert():
    assert set(ALERTS) == {
        "DialogLatencyBudgetBurnsFast",
        "DialogLatencyBudgetBurnsSlowly",
        "DialogErrors",
        "DialogNotServing",
        "DialogQueueFillsUp",
        "DialogCallsRefused",
        "DialogModelNotLoaded",
        "DialogRedisDown",
        "DialogDiversityLow",
        "DialogCacheEatsDiversity",
    }


def test_every_alert_has_a_case_in_which_it_fires():
    cases = UNIT_TESTS.read_text(encoding="utf-8")
    assert all(f'alertname="{name}",alertstate="firing"' in cases for name in ALERTS)


def test_prometheus_reads_the_rules_and_looks_as_often_as_the_dashboard_supposes():
    config = read_yaml(CONFIG)
    found = {path for pattern in config["rule_files"] for path in CONFIG.parent.glob(pattern)}
    assert found == {RULES}
    (source,) = read_yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")[
        "datasources"
    ]
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_the_dashboard_is_one_that_grafana_can_lay_out():
    panels = read_dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_dashboard_asks_the_source_that_is_provisioned():
    (source,) = read_yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")[
        "datasources"
    ]
    panels = [panel for panel in read_dashboard()["panels"] if panel["type"] != "row"]
    asked = [each["datasource"] for panel in panels for each in (panel, *panel["targets"])]
    assert all(each == {"type": source["type"], "uid": source["uid"]} for each in asked)
    assert all(panel["description"] and panel["targets"] for panel in panels)


@needs_promtool
def test_promtool_accepts_the_configuration_and_the_rules():
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", CONFIG)


@needs_promtool
def test_promtool_sees_each_alert_fire_when_it_should():
    assert "SUCCESS" in promtool("test", "rules", UNIT_TESTS)
