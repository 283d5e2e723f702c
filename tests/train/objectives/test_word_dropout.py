"""Which words are withheld, how many, and when."""

import pytest
import torch

from dialog_service.vocabulary import BOS, PAD, UNK
from train.config import RampSchedule, WordDropoutConfig
from train.objectives.word_dropout import WordDropout

INPUTS = torch.tensor([[BOS, *range(10, 58), PAD]]).repeat(200, 1)
RAMP = WordDropoutConfig(rate=0.5, schedule=RampSchedule(start=0.2, end=0.6))


@pytest.mark.parametrize(("progress", "rate"), [(0.1, 0.0), (0.4, 0.25), (0.6, 0.5), (1.0, 0.5)])
def test_the_rate_follows_its_schedule(progress: float, rate: float) -> None:
    torch.manual_seed(0)
    words = WordDropout(RAMP)(INPUTS, progress)[:, 1:-1]
    assert (words == UNK).float().mean().item() == pytest.approx(rate, abs=0.02)
    kept = words != UNK
    assert torch.equal(words[kept], INPUTS[:, 1:-1][kept])


def test_begin_of_sequence_and_padding_stay() -> None:
    torch.manual_seed(0)
    found = WordDropout(RAMP)(INPUTS, 1.0)
    assert torch.equal(found[:, 0], INPUTS[:, 0])
    assert torch.equal(found[:, -1], INPUTS[:, -1])


def test_evaluation_withholds_nothing() -> None:
    assert WordDropout(RAMP).eval()(INPUTS, 1.0) is INPUTS


def test_without_a_rate_no_random_number_is_drawn() -> None:
    before = torch.get_rng_state()
    assert WordDropout(WordDropoutConfig())(INPUTS, 1.0) is INPUTS
    assert torch.equal(torch.get_rng_state(), before)
