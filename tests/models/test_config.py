"""Configs of models: what cannot be is refused where it is built, and named."""

import pytest
from pydantic import ValidationError

from dialog_service.models.config import (
    DiracPosterior,
    GaussianPosterior,
    LstmDecoder,
    LstmEncoder,
    ModelConfig,
    NoPosterior,
    NoPrior,
    PosteriorConfig,
    PriorConfig,
    StandardNormalPrior,
)


def config(
    posterior: PosteriorConfig | None = None, prior: PriorConfig | None = None
) -> ModelConfig:
    return ModelConfig(
        vocab_size=10,
        embedding_dim=4,
        max_context_tokens=5,
        max_response_tokens=5,
        encoder=LstmEncoder(hidden_size=3),
        posterior=posterior or DiracPosterior(latent_dim=2),
        prior=prior or NoPrior(),
        decoder=LstmDecoder(hidden_size=3),
    )


LSTM = {"kind": "lstm", "hidden_size": 3}


def complaint(caught: pytest.ExceptionInfo[ValidationError]) -> str:
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])) + ": " + error["msg"]


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        (DiracPosterior(latent_dim=2), NoPrior()),
        (DiracPosterior(latent_dim=2), StandardNormalPrior()),
        (GaussianPosterior(latent_dim=2), StandardNormalPrior()),
    ],
)
def test_possible_pairs_survive_json(posterior: PosteriorConfig, prior: PriorConfig) -> None:
    made = config(posterior, prior)
    assert made.latent_dim == 2
    assert ModelConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"posterior": NoPosterior(), "prior": StandardNormalPrior()},
            "posterior.kind 'none' with prior.kind 'standard_normal'",
        ),
        ({"posterior": NoPosterior()}, "bridge.kind 'every_step' with posterior.kind 'none'"),
        (
            {
                "posterior": GaussianPosterior(latent_dim=2, sees="context_and_response"),
                "prior": StandardNormalPrior(),
            },
            "z is drawn from a prior that ignores the context",
        ),
    ],
    ids=["no z", "no way from the context", "a reply that ignores the context"],
)
def test_what_cannot_reply_is_refused(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate({**dict(config()), **parts})


def test_an_impossible_pair_names_both() -> None:
    with pytest.raises(ValidationError) as caught:
        config(GaussianPosterior(latent_dim=2), NoPrior())
    message = complaint(caught)
    assert "posterior.kind 'gaussian'" in message
    assert "prior.kind 'none'" in message
    assert "use posterior.kind 'dirac' or prior.kind 'standard_normal'" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hue": 1}, "hue: Extra inputs are not permitted"),
        ({"vocab_size": 0}, "vocab_size: Input should be greater than 0"),
        ({"encoder": {**LSTM, "cells": 1}}, "encoder.lstm.cells: Extra inputs"),
        ({"encoder": {**LSTM, "dropout": 1.0}}, "encoder.lstm.dropout: Input should be less"),
        ({"encoder": {**LSTM, "kind": "rnn"}}, "expected tags: 'lstm', 'gru'"),
        ({"posterior": {"kind": "flow"}}, "expected tags: 'none', 'dirac', 'gaussian'"),
        ({"prior": {"kind": "flow"}}, "expected tags: 'none', 'standard_normal'"),
        (
            {"posterior": {"kind": "gaussian", "latent_dim": 2, "initial_scale": 1e-5}},
            "initial_scale 1e-05 has log -11.5, which is not between min_log_scale -8.0",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ModelConfig.model_validate({**config().model_dump(), **change})
    assert message in complaint(caught)


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().vocab_size = 11  # type: ignore[misc]
