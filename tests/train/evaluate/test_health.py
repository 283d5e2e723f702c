"""Health of every variant on a few cases: what is there, that it repeats, and what it is of."""

import math
from dataclasses import replace
from io import StringIO

import pytest
import torch
from rich.console import Console
from variants_under_test import tiny_config

from dialog_service.checkpoint import Checkpoint, CheckpointMeta
from dialog_service.errors import ConfigError
from dialog_service.models.seq2seq import build_model
from dialog_service.text import normalise
from dialog_service.vocabulary import BOS, EOS, Vocabulary
from train.evaluate import health as module
from train.evaluate.health import HealthOptions, measure_health
from train.metrics.health import ModelHealth
from train.metrics.scoring import Case
from train.variants import VARIANTS

TEXTS = [f"the {a} {b} ." for a in ("cat", "dog", "bird", "fish") for b in ("sat", "ran", "ate")]
LONG = " ".join(["the cat sat and the dog ran"] * 5)  # far beyond what the models reply
CASES = tuple(
    Case(dialogue=str(place // 2), context=(TEXTS[place],), responses=(TEXTS[-1 - place], "not me"))
    for place in range(len(TEXTS))
)
OPTIONS = HealthOptions(samples=6, draws=10, gradient_contexts=5, device="cpu")
BASE = {"nll", "ppl", "bits_per_char"}
ACTIVE = {"active_units"}


def checkpoint(variant: str) -> Checkpoint:
    vocabulary = Vocabulary.fit([*TEXTS, LONG], size=40, mode="unigram")
    config = tiny_config(variant)
    torch.manual_seed(3)
    model = build_model(config.model.model_copy(update={"vocab_size": len(vocabulary)})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    meta = CheckpointMeta(
        variant=variant, preset="tiny", corpus="c", seed=0, commit="", data_fingerprint=""
    )
    return Checkpoint(model=model, vocabulary=vocabulary, sampling=config.sampling, meta=meta)


def measured(variant: str, cases=CASES, **changes) -> ModelHealth:
    options = replace(OPTIONS, **changes)
    return measure_health(checkpoint(variant), cases, options, Console(file=StringIO()))


GRADIENTS = {"reconstruction", "kl", "signal"}
WANTED = {  # by the kind of posterior, and whether it sees the response
    ("none", False): ("exact", BASE, set()),
    ("dirac", False): ("exact", BASE | ACTIVE, {"reconstruction", "signal"}),
    ("gaussian", False): ("predictive", BASE | ACTIVE | {"kl", "mi"}, GRADIENTS),
    ("gaussian", True): (
        "importance",
        BASE | ACTIVE | {"kl", "mi", "active_units_beyond_prior"},
        GRADIENTS,
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_what_it_can_have(variant: str):
    model = tiny_config(variant).model
    kind, figures, gradients = WANTED[model.posterior.kind, model.posterior_sees_response]
    found = measured(variant)
    assert (found.kind, set(found.figures), set(found.gradient_norms)) == (kind, figures, gradients)
    assert found.samples == (1 if kind == "exact" else 6)
    assert found.contexts == len(CASES)
    assert (found.posterior_scale is None) == (kind == "exact")
    if found.posterior_scale:
        assert sum(found.posterior_scale.counts) == len(CASES) * 6  # Z
    likelihood = [found.figures[name] for name in BASE]
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in likelihood)
    assert ModelHealth.model_validate_json(found.model_dump_json()) == found


def test_the_same_seed_gives_the_same_figures_and_another_does_not():
    assert measured("cvae") == measured("cvae")
    assert measured("cvae").figures["nll"] != measured("cvae", seed=1).figures["nll"]


def test_batches_do_not_change_a_figure(monkeypatch: pytest.MonkeyPatch):
    whole = measured("cvae")
    monkeypatch.setattr(module, "_BATCH_CASES", 1)
    singly = measured("cvae")
    for name, estimate in whole.figures.items():
        assert singly.figures[name].value == pytest.approx(estimate.value, rel=1e-5), name
    assert singly.gradient_norms == pytest.approx(whole.gradient_norms, rel=1e-4)


def test_some_contexts_stand_for_all():
    some, other = measured("ved", contexts=5), measured("ved", contexts=5, seed=4)
    assert some.contexts == other.contexts == 5
    assert some.figures["nll"] != other.figures["nll"]
    assert measured("ved", contexts=99).contexts == measured("ved", contexts=None).contexts == 12


def test_half_of_the_cases_leave_a_measurement_of_the_other_half_as_it_is():
    found = measured("ved", contexts=6).figures
    stranger = replace(CASES[0], responses=("the cat",))
    others = [(*CASES[:place], stranger, *CASES[place + 1 :]) for place in range(12)]
    assert sum(measured("ved", cases, contexts=6).figures == found for cases in others) == 6


def test_a_long_response_is_scored_whole_in_nats_tokens_and_characters():
    case = Case(dialogue="1", context=("the cat sat .",), responses=(LONG,))
    subject = checkpoint("ded")
    ids = [*subject.vocabulary.encode(normalise(LONG)), EOS]
    assert len(ids) > subject.model.config.max_response_tokens
    found = measured("ded", cases=(case,)).figures
    nats = stepwise_nats(subject, normalise(case.context[0]), ids)
    assert found["nll"].value == pytest.approx(nats, rel=1e-5)
    assert found["ppl"].value == pytest.approx(math.exp(nats / len(ids)), rel=1e-5)
    characters = len(normalise(LONG))
    assert found["bits_per_char"].value == pytest.approx(nats / math.log(2) / characters, rel=1e-5)


def stepwise_nats(subject: Checkpoint, text: str, ids: list[int]) -> float:
    """The cost of a response by decoding it a word at a time, as the service would."""
    model = subject.model
    context = torch.tensor([subject.vocabulary.encode(text)[-model.config.max_context_tokens :]])
    nats, previous = 0.0, torch.tensor([BOS])
    with torch.no_grad():
        encoded = model.encoder(model.embedding(context), torch.tensor([context.shape[1]]))
        codes = model.reply_codes(encoded)
        signal = model.bridge(codes.loc, codes.share)
        state, advance = model.decoder.start(signal), model.decoder.first_step
        for word in ids:
            scores, state = advance(previous, signal, state)
            nats -= float(scores.log_softmax(-1)[0, word])
            previous, advance = torch.tensor([word]), model.decoder.step
    return nats


@pytest.mark.parametrize("variant", ["ved", "cvae", "gru"])
def test_one_case_has_a_likelihood_without_an_interval_and_no_latent_figures(variant: str):
    found = measured(variant, cases=CASES[:1])
    assert set(found.figures) <= BASE | {"kl"}
    assert found.figures["nll"].low is None


def test_an_unknown_device_is_the_user_s_mistake():
    with pytest.raises(ConfigError, match="abacus"):
        measured("ded", device="abacus")


def test_an_empty_response_costs_its_end():
    case = Case(dialogue="1", context=("",), responses=("",))
    found = measured("gru", cases=(case,)).figures
    assert set(found) == {"nll", "ppl"}
    assert found["ppl"].value == pytest.approx(math.exp(found["nll"].value))
