"""The page: whole with every part and with none, all text escaped, nothing fetched."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dialog_service.errors import ConfigError
from train.evaluate.page import write_page
from train.evaluate.page.charts import frontier, learning_curves, narrow_share
from train.evaluate.page.figures import Mark, standing_figure
from train.evaluate.page.legend import GRADIENTS, HEADLINES, HEALTH, LIKELIHOODS, MEANINGS, Group
from train.evaluate.page.rendering import page
from train.evaluate.page.tables import Card, figure_tables, headline_cards
from train.metrics.health import Histogram, ModelHealth
from train.metrics.intervals import Estimate
from train.metrics.null_rows import Role
from train.metrics.probes import Anchor, FrontierPoint, Interpolation, Probes, Sample
from train.metrics.report import Curve, Report, Row, Setting, Signature
from train.metrics.scoring import METRICS

NASTY = """<script>alert("1")</script> & 'it' $x^2$ \\frac {{ 7 * 7 }} 日本 \U0001f600"""
WORDS = (
    *("mine, bold", "hello", "(3 times)", "other end", "a note", "new figure"),
    *("Dirac delta", "importance sampling", "python -m train.evaluate there"),
)
REACHING_OUT = {"script", "link", "img", "iframe", "object", "embed"}
ROOT = Path(__file__).parents[4]
VOID = {"meta", "link", "br", "img", "hr", "input"}


def row(name: str, role: Role, **figures: float) -> Row:
    setting = Setting(
        corpus="toy@0", split="test/full", deduplication="off", training="none", seed=0
    )
    return Row(
        name=name,
        role=role,
        figures={key: Estimate(value, value - 0.1, value + 0.1) for key, value in figures.items()},
        contexts_short_of_replies=0,
        signature=Signature(
            **setting.model_dump(),
            replies_per_context=1,
            decoding="greedy",
            contexts=1000,
            dialogues=200,
        ),
    )


ROWS = (
    row("mine", Role.SYSTEM, bleu_2=4.0, self_bleu_2=0.3, dist_2=0.2, inter_dist_2=0.8),
    row("mine, bold", Role.SYSTEM, bleu_2=3.0, self_bleu_2=0.2, dist_2=0.5, inter_dist_2=0.9),
    row("human", Role.HUMAN, dist_2=0.4, inter_dist_2=0.9),
    row("echo", Role.NULL, bleu_2=5.0, dist_2=0.4),
    row("random", Role.NULL, bleu_2=2.0, self_bleu_2=0.1, dist_2=0.4, inter_dist_2=0.9),
)
EMPTY = Report(subject="nothing", notes=(), rows=())
BARE = Report(subject="mine: toy test", notes=(), rows=ROWS)
HEALTHY = ModelHealth(
    kind="importance",
    samples=100,
    contexts=500,
    figures={"nll": Estimate(40.0, 39.0, 41.0), "kl": Estimate(7.0), "new_figure": Estimate(1.0)},
    posterior_scale=Histogram(edges=(0.001, 0.01, 0.1, 1.0, 10.0), counts=(1, 2, 3, 4)),
    gradient_norms={"reconstruction": 0.5, "signal": 0.1},
)
FRONTIER = tuple(
    FrontierPoint(
        axis="temperature",
        value=value,
        figures={
            "bleu_2": Estimate(4.0 - value),
            "dist_2": Estimate(value / 2),
            "inter_dist_2": Estimate(value),
        },
    )
    for value in (0.3, 0.6, 0.9)
)
PROBES = Probes(
    frontier=FRONTIER,
    samples=(
        Sample(context=("hi",), response="hello", replies={"mine": ("ho", "hum", "ho", "ho")}),
    ),
    interpolations=(Interpolation(context=("and",), steps=("one end", "other end")),),
)
CURVES = tuple(
    Curve(name=name, steps=(10, 20), values=(3.0, 2.0))
    for name in ("train/loss", "train/nll", "validation/objective", "validation/nll")
)
FULL = BARE.model_copy(
    update={
        "health": HEALTHY,
        "probes": PROBES,
        "curves": CURVES,
        "command": "python -m train.evaluate there",
        "notes": ("a note",),
    }
)


class Reader(HTMLParser):
    """Refuses tags that do not match; keeps text, tags, attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def ids(self) -> set[str | None]:
        return {attributes.get("id") for tag, attributes in self.tags if tag == "section"}


@pytest.fixture(scope="module")
def full() -> str:
    return page(FULL)


def test_every_part_is_there_and_well_formed(full: str):
    read = Reader(full)
    assert read.ids() == {
        "results", "samples", "frontier", "latent", "between", "curves", "notes"
    }  # fmt: skip
    for words in WORDS:
        assert words in read.text, words
    links = {attributes["href"] for tag, attributes in read.tags if tag == "a"}
    assert links == {f"#{name}" for name in read.ids()}


def test_nothing_is_fetched_and_nothing_runs(full: str):
    read = Reader(full)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {
        tag for tag, _ in read.tags
    }
    for tag, attributes in read.tags:
        assert not {name for name in attributes if name.startswith("on")}, tag
        for name in ("href", "src", "xlink:href", "srcset", "data"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    without_names = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"', "", full)
    assert "://" not in without_names
    assert "@import" not in full
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", full))


def test_drawings_take_the_colours_of_the_page(full: str):
    drawings = "".join(re.findall(r"<svg.*?</svg>", full, flags=re.DOTALL))
    assert not re.findall(
        r"#[0-9a-f]{6}\b(?!\))", re.sub(r"url\([^)]*\)|href=\"[^\"]*\"", "", drawings)
    )
    assert "<style" not in drawings
    assert "<metadata" not in drawings
    named = set(re.findall(r"var\((--\w+)\)", full))
    assert named <= set(re.findall(r"(--\w+):", full))


def test_the_same_curves_make_the_same_drawings():
    assert learning_curves(CURVES) == learning_curves(CURVES)


@pytest.mark.parametrize(
    ("report", "sections"),
    [
        (BARE, {"results", "notes"}),
        (EMPTY, {"notes"}),
        (EMPTY.model_copy(update={"probes": Probes()}), {"notes"}),
        (EMPTY.model_copy(update={"curves": CURVES[:1]}), {"curves", "notes"}),
        (
            EMPTY.model_copy(
                update={"health": HEALTHY.model_copy(update={"posterior_scale": None})}
            ),
            {"latent", "notes"},
        ),
    ],
    ids=["rows alone", "nothing", "empty probes", "one curve", "point mass"],
)
def test_every_part_may_be_missing(report: Report, sections: set[str]):
    assert Reader(page(report)).ids() == sections


def test_every_text_is_escaped():
    report = Report(
        subject=f"{NASTY}: {NASTY}",
        notes=(NASTY,),
        rows=tuple(each.model_copy(update={"name": f"{NASTY} {each.name}"}) for each in ROWS),
        health=HEALTHY.model_copy(
            update={"figures": {NASTY: Estimate(1.0)}, "gradient_norms": {NASTY: 1.0}}
        ),
        probes=Probes(
            frontier=FRONTIER,
            anchors=(Anchor(name=NASTY, role=Role.NULL, figures=ROWS[4].figures),),
            samples=(Sample(context=(NASTY,), response=NASTY, replies={NASTY: (NASTY,)}),),
            interpolations=(Interpolation(context=(NASTY,), steps=(NASTY, NASTY)),),
        ),
        curves=(Curve(name=f"train/{NASTY}", steps=(1,), values=(1.0,)),),
        command=NASTY,
    )
    html = page(report)
    read = Reader(html)
    assert "script" not in {tag for tag, _ in read.tags}
    assert "<script" not in html
    assert read.text.count(NASTY) >= 20
    assert "49" not in read.text


def test_a_page_lands_in_its_folder_or_says_why_not(tmp_path: Path):
    path = write_page(EMPTY, tmp_path)
    assert path == tmp_path / "report.html"
    assert Reader(path.read_text(encoding="utf-8")).ids() == {"notes"}
    with pytest.raises(ConfigError, match=r"absent.report.html: No such file"):
        write_page(EMPTY, tmp_path / "absent")


def test_every_figure_is_explained():
    assert {metric.key for metric in METRICS} == MEANINGS.keys()
    assert all(meaning.sentence for meaning in MEANINGS.values())
    assert set(HEADLINES) <= MEANINGS.keys()
    assert {"nll", "kl", "ppl", "bits_per_char", "mi", "active_units",
            "active_units_beyond_prior"} == HEALTH.keys()  # fmt: skip
    assert LIKELIHOODS.keys() == {"importance", "predictive", "exact"}
    assert GRADIENTS.keys() == {"reconstruction", "kl", "signal"}


def best(report: Report) -> dict[str, str]:
    """The row that is marked, by the title of its column."""
    return {
        head.title: each.name
        for table in figure_tables(report)
        for each in table.rows
        for head, cell in zip(table.heads, each.cells, strict=True)
        if cell.is_best
    }


def test_the_best_system_is_marked_whatever_rows_without_a_model_reach():
    assert best(BARE) == {
        "BLEU-2": "mine",  # higher, though echo is higher still
        "self-BLEU-2": "mine, bold",  # lower, though random is lower still
        "Dist-2": "mine, bold",  # nearer to human's 0.4 by a hair
        "inter-Dist-2": "mine, bold",
    }
    assert best(BARE.model_copy(update={"rows": ROWS[1:]})) == {}


def test_rows_without_a_model_stand_apart(full: str):
    rows = re.findall(r'<tr class="(\w+)"><th scope="row">([^<]*)</th>', full)
    assert {name: role for role, name in rows} == {each.name: each.role for each in ROWS}


def test_a_cell_has_its_interval_and_its_share_of_human():
    [table] = [t for t in figure_tables(BARE) if t.title == Group.DIVERSITY]
    cells = {each.name: each.cells[0] for each in table.rows}
    assert (cells["mine"].value, cells["mine"].margin, cells["mine"].share) == (
        "0.200",
        "±0.100",
        "50%",
    )
    assert cells["human"].share == ""
    falling = (row("mine", Role.SYSTEM, uni_kl=2.0), row("human", Role.HUMAN, uni_kl=1.0))
    [table] = figure_tables(BARE.model_copy(update={"rows": falling}))
    assert table.rows[0].cells[0].share == ""


def cards(report: Report) -> dict[str, Card]:
    return {card.title: card for card in headline_cards(report)}


def test_a_headline_says_who_does_as_well_without_a_model():
    shown = cards(BARE)
    assert shown["BLEU-2"].rivals == ("echo",)
    assert shown["Dist-2"].rivals == ()  # people's words are varied, whoever repeats them
    assert not shown["Dist-2"].is_judged
    better = (row("mine", Role.SYSTEM, bleu_2=6.0), *ROWS[2:])
    assert cards(BARE.model_copy(update={"rows": better}))["BLEU-2"].rivals == ()
    assert "better than every row without a model" in page(BARE.model_copy(update={"rows": better}))


def test_people_are_no_rival():
    rows = (row("mine", Role.SYSTEM, relevance=0.5), row("human", Role.HUMAN, relevance=0.9))
    shown = cards(BARE.model_copy(update={"rows": rows}))["relevance"]
    assert (shown.rivals, shown.is_judged) == ((), False)


def test_a_label_is_text_and_no_formula():
    drawing = standing_figure([Mark(label=r"$\frac$ --> <i>", x=1.0)], None)
    assert r">$\frac$ --&gt; &lt;i&gt;</text>" in drawing


def test_a_collapsed_latent_is_told():
    collapsed = HEALTHY.model_copy(update={"figures": {"kl": Estimate(0.01)}})
    told = "collapsed onto its prior"
    assert told in page(EMPTY.model_copy(update={"health": collapsed}))
    assert told not in page(EMPTY.model_copy(update={"health": HEALTHY}))


def test_narrow_posteriors_are_counted():
    assert HEALTHY.posterior_scale is not None
    assert narrow_share(HEALTHY.posterior_scale) == 0.3
    assert narrow_share(Histogram(edges=(0.0, 1.0), counts=(0,))) == 0.0
    zero = Histogram(edges=(0.0, 0.1, 1.0), counts=(3, 1))
    report = EMPTY.model_copy(
        update={"health": HEALTHY.model_copy(update={"posterior_scale": zero})}
    )
    assert "75%" in page(report)


def test_training_and_validation_share_a_drawing():
    titles = [chart.title.split(":")[0].split(",")[0] for chart in learning_curves(CURVES)]
    assert titles == ["objective", "reconstruction"]
    assert "validation" in learning_curves(CURVES)[0].drawing


def test_selection_is_drawn_and_explained_where_it_was_tried():
    weights = tuple(
        point.model_copy(update={"axis": "relevance_weight", "value": value})
        for point, value in zip(FRONTIER, (0.0, 0.5, 0.75), strict=True)
    )
    tried = PROBES.model_copy(update={"frontier": (*FRONTIER, *weights)})
    drawing = frontier(BARE, tried)[0].drawing
    assert ">relevance-weight</text>" in drawing
    assert ">0.75</text>" in drawing
    html = page(BARE.model_copy(update={"probes": tried}))
    assert "are selected from more candidates" in Reader(html).text
    assert set(re.findall(r"var\((--\w+)\)", html)) <= set(re.findall(r"(--\w+):", html))
    assert not re.findall(r"#00000\d", html)


def test_a_report_from_before_there_was_selection_is_drawn():
    old = Report.read(ROOT / "train/results/dailydialog/wed_s-seed0/published")
    assert old.probes is not None
    axes = {point.axis for point in old.probes.frontier}
    assert axes == {"temperature", "top_p", "latent_scale"}
    html = page(old)
    assert ">latent-scale</text>" in html
    assert "relevance-weight" not in html


def test_dist_of_other_contexts_is_not_drawn_beside_the_frontier():
    """Dist falls with the number of contexts, so the table's rows do not compare with it."""
    drawn = {chart.title: chart.drawing for chart in frontier(BARE, PROBES)}
    assert "random" not in drawn["BLEU-2 over Dist-2"]
    assert "random" in drawn["BLEU-2 over inter-Dist-2"]
    assert "human" in drawn["BLEU-2 over inter-Dist-2"]
    anchored = PROBES.model_copy(
        update={"anchors": (Anchor(name="dice", role=Role.NULL, figures=ROWS[4].figures),)}
    )
    drawn = {chart.title: chart.drawing for chart in frontier(BARE, anchored)}
    assert "dice" in drawn["BLEU-2 over Dist-2"]
    assert "random" not in drawn["BLEU-2 over inter-Dist-2"]
