"""What is tried on a model besides its table."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dialog_service.generation import Generator
from dialog_service.selection import MmrSelection
from train.evaluate import probes
from train.evaluate.probes import ProbeOptions, frontier_points, make_probes
from train.evaluate.tellers import Tellers
from train.metrics.counting import Case
from train.metrics.judgement import Judgement
from train.metrics.language_model import NgramModel
from train.metrics.null_rows import Echo, Human, RetrievedReplies
from train.metrics.probes import Probes

CASES = [
    Case(
        dialogue=str(number // 2),
        context=(f"{text} number {number}",),
        responses=(f"good , the number is {number} .",),
    )
    for number, text in enumerate(("the train is late today .", "a taxi .", "our teacher") * 4)
]
RETRIEVED = RetrievedReplies(["the train ?", "a taxi ?"], ["it left .", "over there ."], count=1)


class ByLength:
    """A judge who finds every reply as good as the context is long."""

    fingerprint = "by length"

    def judge(
        self, contexts: Sequence[tuple[str, ...]], replies: Sequence[Sequence[str]]
    ) -> list[Judgement]:
        assert all(len(pool) >= 1 for pool in replies)
        return [
            Judgement(probabilities=(len(context[-1]) / 100,), rank=1.0) for context in contexts
        ]


class ByBrevity:
    """A judge who likes replies to be short."""

    fingerprint = "by brevity"

    def judge(
        self, contexts: Sequence[tuple[str, ...]], replies: Sequence[Sequence[str]]
    ) -> list[Judgement]:
        return [
            Judgement(probabilities=tuple(1 / (1 + len(reply)) for reply in pool), rank=1.0)
            for pool in replies
        ]


@pytest.fixture(scope="module")
def generator(tiny_checkpoint: Path) -> Generator:
    return Generator.load(tiny_checkpoint, device="cpu", precision="fp32")


Probe = Callable[..., Probes]
NOBODY = Tellers()


@pytest.fixture(scope="module")
def probe(generator: Generator) -> Probe:
    def made(seed: int = 0, tellers: Tellers = NOBODY, **changes: object) -> Probes:
        options = ProbeOptions(
            sampling=generator.defaults,
            seed=seed,
            others=(Human(count=1), Echo(), RETRIEVED),
            temperatures=(0.0,),
            top_ps=(0.9,),
            latent_scales=(0.0, 1.5),
            frontier_contexts=6,
            frontier_replies=3,
            sample_contexts=2,
            interpolations=2,
            interpolation_steps=5,
            batch_size=5,
        )
        return make_probes(
            generator, CASES, tellers, replace(options, **changes), Console(quiet=True)
        )

    return made


@pytest.fixture(scope="module")
def found(probe: Probe) -> Probes:
    return probe()


def test_every_axis_moves_one_value_and_has_the_models_own_among_them(generator: Generator):
    own = generator.defaults
    options = ProbeOptions(sampling=own)
    points = frontier_points(generator, options)
    for axis in ("temperature", "top_p", "latent_scale"):
        on_axis = [(value, way.sampling) for name, value, way in points if name == axis]
        values = [value for value, _ in on_axis]
        assert values == sorted(set(values))
        assert getattr(own, axis) in values
        assert all(replace(own, **{axis: value}) == sampling for value, sampling in on_axis)
    assert {name for name, _, _ in points} == {"temperature", "top_p", "latent_scale"}
    assert all(way.are_raw for _, _, way in points)


def test_a_model_with_a_matcher_selects_by_every_weight(
    generator: Generator, matched: Callable[[Generator], Any]
):
    options = ProbeOptions(sampling=replace(generator.defaults, temperature=0.7))
    model = matched(generator)
    ways = {way: value for axis, value, way in frontier_points(model, options)
            if axis == "relevance_weight"}  # fmt: skip
    assert list(ways.values()) == [0.0, 0.25, 0.5, 0.75, 1.0]
    for way, weight in ways.items():
        assert way.selection == MmrSelection(relevance_weight=weight)
        assert (way.sampling, way.count, way.candidates) == (options.sampling, 5, 32)
        assert not way.are_raw


def test_the_weight_leads_from_difference_to_relevance(
    generator: Generator, matched: Callable[[Generator], Any]
):
    options = ProbeOptions(
        sampling=generator.defaults, temperatures=(), top_ps=(), latent_scales=(),
        relevance_weights=(0.0, 1.0), frontier_candidates=12, sample_contexts=1, interpolations=0,
    )  # fmt: skip
    said = io.StringIO()
    console = Console(file=said, force_terminal=False, width=100)
    tried = make_probes(matched(generator), CASES, Tellers(judge=ByBrevity()), options, console)
    different, relevant = (p.figures for p in tried.frontier if p.axis == "relevance_weight")
    for figure in ("relevance", "relevance_all"):
        assert relevant[figure].value > different[figure].value
    assert relevant["inter_dist_1"].value < different["inter_dist_1"].value
    [done] = [line for line in said.getvalue().splitlines() if "probing" in line]
    assert "37/37" in done  # the own sampling and two weights on twelve contexts, one sample


def test_every_weight_selects_from_the_same_candidates(
    generator: Generator, matched: Callable[[Generator], Any]
):
    model = matched(generator)
    options = ProbeOptions(
        sampling=generator.defaults, temperatures=(), top_ps=(), latent_scales=(),
        frontier_candidates=12, sample_contexts=1, interpolations=0,
    )  # fmt: skip
    tried = make_probes(model, CASES, NOBODY, options, Console(quiet=True))
    assert sum(point.axis == "relevance_weight" for point in tried.frontier) == 5
    rated = [result for result in model.said if result.candidates[0].relevance is not None]
    assert len(rated) == len(CASES)


def test_the_same_sampling_is_tried_once_and_shown_on_every_axis(
    found: Probes, generator: Generator
):
    own = [
        point.figures
        for point in found.frontier
        if point.value == getattr(generator.defaults, point.axis)
    ]
    assert len(own) == 3
    assert own[0] == own[1] == own[2]


def test_greedy_words_at_one_code_are_always_the_same_words(probe: Probe, generator: Generator):
    still = replace(generator.defaults, temperature=0.0)
    points = {(p.axis, p.value): p.figures for p in probe(sampling=still).frontier}
    at_mean, drawn = points["latent_scale", 0.0], points["latent_scale", 1.5]
    assert at_mean["inter_dist_2"].value < drawn["inter_dist_2"].value
    assert at_mean["inter_dist_2"].value <= 1 / 3


def test_heat_makes_words_vary(found: Probes):
    points = {p.value: p.figures for p in found.frontier if p.axis == "temperature"}
    assert points[0.0]["entropy"].value < points[1.0]["entropy"].value
    assert points[0.0]["inter_dist_2"].value < points[1.0]["inter_dist_2"].value


def test_null_rows_are_measured_on_the_same_contexts(found: Probes):
    assert found.contexts == 6
    human, echo, retrieved = found.anchors
    assert (human.name, echo.name) == ("human", "echo of the post")
    assert "bleu_2" in echo.figures
    assert "bleu_2" not in human.figures
    assert retrieved.figures.keys() <= found.frontier[0].figures.keys()
    assert "relevance" not in echo.figures


def test_a_judge_is_asked_for_every_row(probe: Probe):
    judged = probe(tellers=Tellers(judge=ByLength()))
    figures = [row.figures["relevance"].value for row in (*judged.frontier, *judged.anchors)]
    assert len(set(figures)) == 1
    assert 0.1 < figures[0] < 0.4


def test_a_language_model_is_asked_for_every_row(probe: Probe):
    texts = [case.responses[0] for case in CASES]
    told = probe(tellers=Tellers(language_model=NgramModel(texts)))
    human, echo, _ = (row.figures["lm_nats_all"].value for row in told.anchors)
    assert human < 1 < echo
    assert all(point.figures["lm_nats_all"].value > human for point in told.frontier)


def test_samples_hold_the_model_its_greedy_reply_and_what_is_retrieved(found: Probes):
    assert len(found.samples) == 2
    for sample in found.samples:
        assert list(sample.replies) == ["wed_s", "wed_s, greedy", RETRIEVED.name]
        assert len(set(sample.replies["wed_s"])) == 3
        assert len(sample.replies["wed_s, greedy"]) == 1
        [case] = [case for case in CASES if case.context == sample.context]
        assert case.responses == (sample.response,)


def test_interpolations_run_from_one_draw_to_the_other(found: Probes, generator: Generator):
    assert len(found.interpolations) == 2
    contexts = {case.context for case in CASES}
    for line in found.interpolations:
        assert line.context in contexts
        assert len(line.steps) == 5
    assert any(line.steps[0] != line.steps[-1] for line in found.interpolations)


def test_ends_of_a_line_are_replies_to_drawn_codes(generator: Generator, probe: Probe):
    two = probe(interpolation_steps=2).interpolations
    many = probe(interpolation_steps=7).interpolations
    assert [line.steps for line in two] == [(line.steps[0], line.steps[-1]) for line in many]


def test_the_seed_decides(probe: Probe, found: Probes):
    assert probe() == found
    assert probe(seed=1).samples != found.samples


def test_a_model_of_one_code_has_no_spread_and_no_lines(
    monkeypatch: pytest.MonkeyPatch, generator: Generator, probe: Probe
):
    monkeypatch.setattr(generator, "is_deterministic", True)
    alone = probe()
    assert {point.axis for point in alone.frontier} == {"temperature", "top_p"}
    assert alone.interpolations == ()
    assert len(alone.samples) == 2


def test_the_bar_comes_to_its_end(generator: Generator):
    said = io.StringIO()
    options = ProbeOptions(
        sampling=generator.defaults,
        temperatures=(),
        top_ps=(0.5,),
        latent_scales=(),
        frontier_contexts=3,
        frontier_replies=2,
        sample_contexts=5,
    )
    console = Console(file=said, force_terminal=False, width=100)
    one = make_probes(generator, CASES[:1], NOBODY, options, console)
    assert one.contexts == 1
    assert len(one.frontier) == 4
    [done] = [line for line in said.getvalue().splitlines() if "probing" in line]
    assert "4/4" in done  # two samplings, one sample, one line


def test_figures_are_those_of_the_table():
    from train.metrics.scoring import METRICS

    assert set(probes.FIGURES) <= {metric.key for metric in METRICS}
