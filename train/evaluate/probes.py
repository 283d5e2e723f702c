"""What a model does besides its table: other sampling values, single contexts, codes in between.

All on contexts drawn blindly, not chosen; the same seed finds the same.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dialog_service.generation import Generator, SamplingParameters
from dialog_service.selection import DEFAULT_CANDIDATES
from train.evaluate.decodings import Decoding, GeneratedReplies
from train.evaluate.tellers import Tellers
from train.metrics.counting import Case, ContextCounter
from train.metrics.intervals import Estimate
from train.metrics.null_rows import RetrievedReplies, Role, System
from train.metrics.probes import Anchor, Axis, FrontierPoint, Interpolation, Probes, Sample
from train.metrics.scoring import RowScorer

FIGURES = ("bleu_2", "dist_1", "dist_2", "inter_dist_1", "inter_dist_2", "entropy",
           "relevance", "relevance_all", "relevance_rank", "lm_nats_all")  # fmt: skip

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """How much is tried.

    ``sampling`` is what the frontier starts from and the samples use; along each axis one value is
    moved. Along ``relevance_weights`` replies are selected, of ``frontier_candidates``. ``others``
    answer the same contexts beside the model: human, echo, random, BM25.
    """

    sampling: SamplingParameters
    seed: int = 0
    others: tuple[System, ...] = ()
    temperatures: tuple[float, ...] = (0.0, 0.4, 0.7, 1.0)
    top_ps: tuple[float, ...] = (0.5, 0.8, 0.9, 1.0)
    latent_scales: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5)
    relevance_weights: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    frontier_contexts: int = 200
    frontier_replies: int = 5
    frontier_candidates: int = DEFAULT_CANDIDATES
    sample_contexts: int = 12
    sample_replies: int = 3
    interpolations: int = 6
    interpolation_steps: int = 7
    batch_size: int = 64


class _DrawnOnce:
    """A generator that draws for the same requests once: selections choose from the same draws."""

    def __init__(self, generator: Generator) -> None:
        self.generate = cache(generator.generate)


def make_probes(
    generator: Generator,
    cases: Sequence[Case],
    tellers: Tellers,
    options: ProbeOptions,
    console: Console,
) -> Probes:
    """Try everything the model allows, behind one bar.

    Where one code per context is all there is, neither the spread of codes nor the way between two
    of them can be tried; without a matcher, no selection by relevance.

    Args:
        generator: of the model; used as it is, on its device.
        cases: those of the table, at least one.
        tellers: of what cannot be counted.
        options: how much.
        console: for the bar.
    """
    random = np.random.default_rng(options.seed)
    drawn = [cases[place] for place in random.permutation(len(cases))]
    judged = drawn[: options.frontier_contexts]
    shown = drawn[: options.sample_contexts]
    walked = () if generator.is_deterministic else drawn[: options.interpolations]
    ways = frontier_points(generator, options)
    drawn_once = _DrawnOnce(generator)
    rows = len({decoding for _, _, decoding in ways}) + len(options.others)
    with _bar(console, rows * len(judged) + len(shown) + len(walked)) as advance:

        @cache
        def moved(decoding: Decoding) -> dict[str, Estimate]:
            system = GeneratedReplies(drawn_once, decoding, seed=options.seed)
            return _figures(system, judged, tellers, options, advance)

        return Probes(
            frontier=tuple(
                FrontierPoint(axis=axis, value=value, figures=moved(decoding))
                for axis, value, decoding in ways
            ),
            anchors=tuple(
                Anchor(
                    name=system.name,
                    role=system.role,
                    figures=_figures(system, judged, tellers, options, advance),
                )
                for system in options.others
            ),
            samples=_samples(generator, shown, options, advance),
            interpolations=_interpolations(generator, walked, options, advance),
            contexts=len(judged),
        )


def frontier_points(
    generator: Generator, options: ProbeOptions
) -> list[tuple[Axis, float, Decoding]]:
    """Each value of each axis that the model has, with the decoding it makes.

    Of each sampling value the model's own is among them.
    """
    own = Decoding(
        name=generator.meta.variant,
        sampling=options.sampling,
        count=options.frontier_replies,
        has_matcher=generator.has_matcher,
    )
    # As they fall: made different from each other they would hide how alike they are.
    raw = replace(own, are_raw=True)
    axes: dict[Axis, tuple[float, ...]] = {
        "temperature": options.temperatures,
        "top_p": options.top_ps,
        **({} if generator.is_deterministic else {"latent_scale": options.latent_scales}),
    }
    sampled: list[tuple[Axis, float, Decoding]] = [
        (axis, value, replace(raw, sampling=replace(options.sampling, **{axis: value})))
        for axis, values in axes.items()
        for value in sorted({*values, getattr(options.sampling, axis)})
    ]
    weights = options.relevance_weights if generator.has_matcher else ()
    candidates = options.frontier_candidates
    return sampled + [
        ("relevance_weight", weight, own.selected(candidates=candidates, relevance_weight=weight))
        for weight in weights
    ]


def _figures(
    system: System,
    cases: Sequence[Case],
    tellers: Tellers,
    options: ProbeOptions,
    advance: Advance,
) -> dict[str, Estimate]:
    """Those of the frontier's figures that a system's replies to the cases have."""
    is_response = system.role is Role.HUMAN
    counter = ContextCounter(count=system.count, is_response=is_response)
    row = RowScorer(is_response=is_response)
    for start in range(0, len(cases), options.batch_size):
        batch = cases[start : start + options.batch_size]
        replies = system.answer(batch)
        told = tellers.of([case.context for case in batch], replies)
        for case, given, each in zip(batch, replies, told, strict=True):
            row.take(each.beside(counter.of(case, given)))
        advance(len(batch))
    found = row.figures(options.seed)
    return {key: found[key] for key in FIGURES if key in found}


def _samples(
    generator: Generator, cases: Sequence[Case], options: ProbeOptions, advance: Advance
) -> tuple[Sample, ...]:
    """Replies as the service gives them, the most probable one, and retrieved ones."""
    variant = generator.meta.variant
    greedy = replace(options.sampling, temperature=0.0, latent_scale=0.0)
    asked = Decoding(name=variant, sampling=options.sampling, count=options.sample_replies)
    still = Decoding(name=f"{variant}, greedy", sampling=greedy, count=1)
    systems: list[System] = [
        GeneratedReplies(generator, decoding, seed=options.seed) for decoding in (asked, still)
    ]
    systems += [system for system in options.others if isinstance(system, RetrievedReplies)]
    answers = {system.name: system.answer(cases) for system in systems}
    advance(len(cases))
    return tuple(
        Sample(
            context=case.context,
            response=case.responses[0],
            replies={name: replies[place] for name, replies in answers.items()},
        )
        for place, case in enumerate(cases)
    )


def _interpolations(
    generator: Generator, cases: Sequence[Case], options: ProbeOptions, advance: Advance
) -> tuple[Interpolation, ...]:
    """Replies at z = (1 - t) z_0 + t z_1 at even steps of t, words greedy."""
    t = torch.linspace(0, 1, options.interpolation_steps)[:, None]  # (K, 1)
    lines = []
    for place, case in enumerate(cases):
        seeds = np.random.default_rng((options.seed, place)).integers(2**62, size=2)
        ends = generator.code_draws(case.context, seeds.tolist())  # (2, Z)
        steps = generator.replies_at(case.context, torch.lerp(ends[0], ends[1], t))
        lines.append(Interpolation(context=case.context, steps=tuple(steps)))
        advance(1)
    return tuple(lines)


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Advance]:
    """A bar over contexts answered."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        task = progress.add_task("probing", total=total)
        yield lambda count: progress.advance(task, count)
