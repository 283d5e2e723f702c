"""Sizes that grow one at a time, and a case measured in a process of its own."""

from itertools import groupby

from tests.train.benchmark.conftest import tiny_case
from train.benchmark.growth import grown_cases, in_fresh_process
from train.benchmark.measurement import Effort


def test_one_size_grows_at_a_time():
    grown = grown_cases(tiny_case())
    axes = [(axis, [g.size for g in of]) for axis, of in groupby(grown, lambda g: g.axis)]
    assert axes == [
        ("batch size", [8, 16, 32]),
        ("vocabulary", [60, 120, 240]),
        ("hidden size", [14, 28, 56]),
        ("corpus", [40, 80, 160]),
    ]
    batch, vocabulary, hidden, corpus = (g.case for g in grown if g.factor == 4)
    assert batch.config.optimisation.batch_size == 32
    assert vocabulary.config.data.vocabulary_size == 240
    assert hidden.config.model.encoder.hidden_size == 40
    assert hidden.config.model.decoder.hidden_size == 56
    assert (corpus.pairs, corpus.config) == (160, tiny_case().config)


def test_a_batch_larger_than_the_pairs_brings_its_own():
    assert max(g.case.pairs for g in grown_cases(tiny_case()) if g.axis == "batch size") == 40
    (large,) = [
        g.case
        for g in grown_cases(tiny_case("wed_s", "optimisation.batch_size=30"))
        if g.axis == "batch size" and g.factor == 4
    ]
    assert large.pairs == 120


def test_a_fresh_process_measures_the_case():
    step = in_fresh_process(tiny_case(), Effort(seconds=0.0, repeats=3))
    assert len(step.seconds) == 3
    assert 0 < step.memory_bytes < step.peak_bytes
