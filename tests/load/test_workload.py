"""What a load consists of."""

import itertools
from collections import Counter

import pytest

from dialog_service.errors import ConfigError
from dialog_service.load.workload import UTTERANCES, Kind, Workload, parse_mix
from dialog_service.v1 import dialog_pb2 as pb


def shots(workload: Workload, seed: int = 1, count: int = 2000) -> list:
    return list(itertools.islice(workload.shots(seed), count))


def test_calls_come_in_the_shares_asked_for_and_the_same_for_the_same_seed():
    workload = Workload(mix=parse_mix("unary=6, batch=1,seeded=2,mmr=1"))
    made = shots(workload)
    kinds = Counter(shot.kind for shot in made)
    assert {kind: round(count / 200) for kind, count in kinds.items()} == {
        Kind.UNARY: 6,
        Kind.BATCH: 1,
        Kind.SEEDED: 2,
        Kind.MMR: 1,
    }
    assert made == shots(workload)
    assert made != shots(workload, seed=2)
    for shot in made:
        assert len(shot.requests) == (8 if shot.kind is Kind.BATCH else 1)
        for request in shot.requests:
            assert request.sampling.HasField("seed") == (shot.kind is Kind.SEEDED)
            is_mmr = request.selection.strategy == pb.SELECTION_STRATEGY_MMR
            assert is_mmr == (shot.kind is Kind.MMR)


def test_a_share_of_utterances_repeats_and_the_others_are_new():
    made = shots(Workload(mix={Kind.UNARY: 1}, repeated_share=0.25))
    said = Counter(shot.requests[0].turns[0].text for shot in made)
    assert sum(said[text] for text in UTTERANCES) == pytest.approx(500, abs=100)
    assert all(count == 1 for text, count in said.items() if text not in UTTERANCES)


@pytest.mark.parametrize(
    "text", ["", "unary", "unary=x", "loud=1", "unary=-1", "unary=0", "mmr=inf"]
)
def test_a_mix_that_cannot_be_is_a_mistake_in_one_line(text: str):
    with pytest.raises(ConfigError, match="--mix"):
        parse_mix(text)
