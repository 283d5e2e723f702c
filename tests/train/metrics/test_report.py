"""The documents of a report: they come back as they went, and older ones still load."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from dialog_service.errors import ConfigError
from train.metrics.health import Histogram, ModelHealth
from train.metrics.intervals import Estimate
from train.metrics.null_rows import Role
from train.metrics.probes import FrontierPoint, Interpolation, Probes, Sample
from train.metrics.report import Curve, Report, Row, Setting, Signature
from train.metrics.scoring import METRICS

SETTING = Setting(corpus="toy@0", split="test/full", deduplication="off", training="none", seed=0)
ROW = Row(
    name="mine",
    role=Role.SYSTEM,
    figures={"bleu_2": Estimate(4.0, 3.0, 5.0), "dist_1": Estimate(0.5)},
    contexts_short_of_replies=0,
    signature=Signature(
        **SETTING.model_dump(), replies_per_context=1, decoding="greedy", contexts=3, dialogues=2
    ),
)
OLD = Report(subject="mine: toy", notes=("a note",), rows=(ROW,))
FULL = OLD.model_copy(
    update={
        "health": ModelHealth(
            kind="exact",
            samples=1,
            contexts=3,
            figures={"nll": Estimate(40.0)},
            posterior_scale=Histogram(edges=(0.1, 1.0, 10.0), counts=(1, 2)),
            gradient_norms={"reconstruction": 0.5},
        ),
        "probes": Probes(
            frontier=(FrontierPoint(axis="top_p", value=0.9, figures=ROW.figures),),
            samples=(Sample(context=("hi",), response="ho", replies={"mine": ("hum",)}),),
            interpolations=(Interpolation(context=("hi",), steps=("a", "b")),),
        ),
        "curves": (Curve(name="train/nll", steps=(1, 2), values=(3.0, 2.0)),),
        "command": "python -m train.evaluate there",
    }
)


@pytest.mark.parametrize("report", [OLD, FULL], ids=["rows alone", "everything"])
def test_what_was_written_is_read(report: Report, tmp_path: Path):
    report.write(tmp_path)
    assert Report.read(tmp_path) == report
    assert Report.read(tmp_path / "report.json") == report


def test_a_report_from_before_there_was_more_than_rows_loads(tmp_path: Path):
    written = json.loads(OLD.model_dump_json())
    old = {key: written[key] for key in ("subject", "notes", "rows")}
    (tmp_path / "report.json").write_text(json.dumps(old))
    assert Report.read(tmp_path) == OLD


def test_a_signature_names_the_judge_where_there_was_one(tmp_path: Path):
    assert "judge" not in str(ROW.signature)
    judged = Signature(**{**ROW.signature.model_dump(), "judge": "0123456789abcdef"})
    assert str(judged) == f"{ROW.signature}|judge:0123456789abcdef"
    rows = (ROW.model_copy(update={"signature": judged}),)
    OLD.model_copy(update={"rows": rows}).write(tmp_path)
    assert Report.read(tmp_path).rows == rows


def test_a_report_from_before_signatures_named_a_judge_loads(tmp_path: Path):
    written = json.loads(OLD.model_dump_json())
    del written["rows"][0]["signature"]["judge"]
    (tmp_path / "report.json").write_text(json.dumps(written))
    assert Report.read(tmp_path) == OLD


def shown(report: Report, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        report.show(console)
    return capture.get()


def test_a_narrow_terminal_gets_narrower_tables_whose_names_can_be_read():
    figures = {metric.key: Estimate(0.5, 0.25, 0.75) for metric in METRICS}
    names = ("wed_s, z drawn, greedy tokens", "random training replies", "human")
    rows = tuple(ROW.model_copy(update={"name": name, "figures": figures}) for name in names)
    report = OLD.model_copy(update={"rows": rows})
    narrow, wide = shown(report, 80), shown(report, 200)
    tables = [line for line in narrow.splitlines() if line[:1] in "┏┃┡│└"]
    assert "…" not in narrow
    assert max(map(len, tables)) <= 80
    assert all(f"│ {name}" in narrow for name in ("wed_s, z drawn,", "random training", "human"))
    assert all(metric.title in narrow for metric in METRICS)
    assert all(f"│ {name}" in wide for name in names)
    assert wide.count("┏") < narrow.count("┏")


def test_brackets_in_a_name_are_no_markup():
    rows = (ROW.model_copy(update={"name": "replies[v2].jsonl"}),)
    told = shown(OLD.model_copy(update={"subject": "in[/x]/replies[v2].jsonl", "rows": rows}), 200)
    assert "in[/x]/replies[v2].jsonl" in told
    assert "│ replies[v2].jsonl" in told


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "no report: No such file"),
        ("nonsense", "not a report: Invalid JSON"),
        ('{"subject": "x", "notes": [], "rows": [], "colour": 1}', "not a report: colour: Extra"),
        ('{"subject": "x", "rows": []}', "not a report: notes: Field required"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path, text: str | None, problem: str):
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(ConfigError, match=problem) as refused:
        Report.read(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
