"""fit(): what a run leaves behind, when it ends, and how it fails."""

import json
import signal

import pytest
import torch
from lightning_fabric import Fabric

from dialog_service.checkpoint import load_checkpoint
from dialog_service.errors import CheckpointError, ConfigError
from dialog_service.generation import GenerationRequest, Generator
from dialog_service.models.seq2seq import Batch
from train import trainer
from train.data.batches import TokenisedPairs
from train.launch import launched
from train.learner import Learner
from train.optimiser import learning_rate
from train.run_folder import RunFolder
from train.run_inputs import RunInputs
from train.state import load_state
from train.trainer import fit
from train.validation import Validation


def logged(folder: RunFolder, kind: str) -> list[dict]:
    lines = map(json.loads, folder.log.read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("variant", ["ded", "wed_d", "wed_s"])
def test_the_best_checkpoint_of_a_run_replies(
    make_tiny, fabric: Fabric, folder: RunFolder, variant: str
):
    inputs = make_tiny(variant=variant)
    result = fit(inputs, fabric, folder)
    validations = logged(folder, "validation")
    best = min(validations, key=lambda line: line["objective"])
    assert (result.interrupted_by, result.epochs) == (None, 3)
    assert (result.best_epoch, result.best_metric) == (best["epoch"], best["objective"])
    checkpoint = load_checkpoint(folder.path)  # the run's folder stands for its best checkpoint
    assert checkpoint.meta.metrics["objective"] == best["objective"]
    assert checkpoint.meta.metrics["epoch"] == best["epoch"]
    assert checkpoint.meta.variant == variant
    generator = Generator(checkpoint, device="cpu", precision="fp32")
    request = GenerationRequest(
        turns=("How are you?",), reply_count=2, sampling=generator.defaults, seed=1
    )
    (replied,) = generator.generate([request])
    assert replied is not None
    assert len(replied.candidates) == 2


def test_losses_fall_and_every_part_of_them_is_logged(make_tiny, fabric: Fabric, folder: RunFolder):
    fit(make_tiny("optimisation.epochs=6"), fabric, folder)
    train, validation = logged(folder, "train"), logged(folder, "validation")
    assert train[-1]["nll"] < train[0]["nll"]
    assert validation[-1]["nll"] < validation[0]["nll"]
    assert [line["step"] for line in train] == [11, 22, 33, 44, 55, 66]
    assert {"loss", "nll", "mmd", "kl_to_own_mean", "gradient_norm"} <= train[0].keys()
    for line in validation:
        assert [len(replies) for replies in line["samples"].values()] == [3, 3, 3]


def test_penalties_stay_out_until_their_time(make_tiny, fabric: Fabric, folder: RunFolder):
    inputs = make_tiny()
    fit(inputs, fabric, folder)
    first, *_, last = logged(folder, "train")
    weight = inputs.config.objective.terms[0].weight
    # MMD comes in from a fifth of the run on, within the first of three epochs.
    assert first["loss"] < first["nll"] + 0.3 * weight * first["mmd"]
    assert last["loss"] > last["nll"] + weight * last["mmd"]


def test_the_learning_rate_follows_its_schedule(make_tiny, fabric: Fabric, folder: RunFolder):
    inputs = make_tiny()
    fit(inputs, fabric, folder)
    (group,) = load_state(folder.training).optimiser["param_groups"]
    assert group["lr"] == learning_rate(inputs.config.optimisation, 32 / 33)


def test_a_seed_repeats_a_run_and_another_changes_weights_and_batches(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch
):
    batch, seen = TokenisedPairs.batch, []

    def noted(self: TokenisedPairs, rows: torch.Tensor) -> Batch:
        seen.append(rows.tolist())
        return batch(self, rows)

    monkeypatch.setattr(TokenisedPairs, "batch", noted)

    def ending(name: str, seed: int) -> tuple[list[int], float]:
        place = RunFolder(folder.path / name)
        place.path.mkdir()
        seen.clear()
        nats = fit(make_tiny("optimisation.epochs=1", f"seed={seed}"), fabric, place).best_metric
        return seen[0], nats

    first, again, other = ending("first", 1), ending("again", 1), ending("other", 2)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def objectives(
    monkeypatch: pytest.MonkeyPatch, found: Validation, values: list[float], settled_from: int = 0
) -> None:
    """Validation finds these, epoch after epoch; weights settle from an index on."""
    remaining = iter(enumerate(values))

    def scripted(*_: object, **__: object) -> Validation:
        index, value = next(remaining)
        changes = {"objective": value, "is_settled": index >= settled_from}
        return Validation(**{**_fields(found), **changes})

    monkeypatch.setattr(trainer, "validate", scripted)


def _fields(found: Validation) -> dict:
    return {name: getattr(found, name) for name in Validation.__slots__}


def test_training_stops_when_patience_ends(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, found: Validation
):
    objectives(monkeypatch, found, [5.0, 4.0, 4.0, 4.5, 1.0, 1.0])
    inputs = make_tiny("optimisation.epochs=6", "optimisation.patience_epochs=2")
    result = fit(inputs, fabric, folder)
    assert (result.epochs, result.best_epoch, result.best_metric) == (4, 2, 4.0)
    assert load_checkpoint(folder.best).meta.metrics["epoch"] == 2
    assert load_state(folder.training).position.is_finished


def test_epochs_compare_only_once_the_weights_have_settled(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, found: Validation
):
    objectives(monkeypatch, found, [1.0, 2.0, 6.0, 5.0, 5.5, 5.5], settled_from=2)
    inputs = make_tiny("optimisation.epochs=6", "optimisation.patience_epochs=2")
    result = fit(inputs, fabric, folder)
    assert (result.epochs, result.best_epoch, result.best_metric) == (6, 4, 5.0)


def test_a_weight_that_never_settles_leaves_the_last_epoch(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, found: Validation
):
    objectives(monkeypatch, found, [1.0, 2.0, 3.0], settled_from=9)
    assert fit(make_tiny(), fabric, folder).best_epoch == 3


def test_the_last_epoch_can_be_kept_whatever_the_best(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, found: Validation
):
    objectives(monkeypatch, found, [2.0, 1.0, 3.0])
    result = fit(make_tiny("optimisation.kept=last"), fabric, folder)
    assert (result.best_epoch, result.kept_epoch) == (2, 3)
    assert load_checkpoint(folder.best).meta.metrics["epoch"] == 3


def test_patience_survives_an_interruption(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, found: Validation
):
    objectives(monkeypatch, found, [4.0, 5.0, 5.0, 5.0])
    inputs = make_tiny("optimisation.epochs=6", "optimisation.patience_epochs=2")
    interrupt(monkeypatch, at_step=27)  # in the third epoch
    assert fit(inputs, fabric, folder).interrupted_by is signal.SIGTERM
    result = fit(inputs, fabric, folder, resume=True)
    assert (result.epochs, result.best_epoch, result.best_metric) == (3, 1, 4.0)


def interrupt(monkeypatch: pytest.MonkeyPatch, at_step: int) -> None:
    """SIGTERM arrives during that step of this process."""
    step, taken = Learner.step, []

    def stepping(self: Learner, *given: object) -> None:
        step(self, *given)
        taken.append(given)
        if len(taken) == at_step:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Learner, "step", stepping)


@pytest.mark.parametrize("at_step", [1, 11, 33], ids=["first", "end of an epoch", "very last"])
def test_a_signal_stops_after_its_step_and_loses_nothing(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, at_step: int
):
    interrupt(monkeypatch, at_step)
    result = fit(make_tiny(), fabric, folder)
    assert result.interrupted_by is signal.SIGTERM
    position = load_state(folder.training).position
    assert position.step == at_step
    assert not position.is_finished
    assert fit(make_tiny(), fabric, folder, resume=True).interrupted_by is None
    assert load_state(folder.training).position.step == 33
    assert [line["epoch"] for line in logged(folder, "validation")] == [1, 2, 3]


def test_the_state_is_saved_from_time_to_time(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch
):
    steps, now = [], [0.0]
    save, step = trainer.save_state, Learner.step

    def saving(state, directory) -> None:
        steps.append(state.position.step)
        save(state, directory)

    def stepping(self: Learner, *given: object) -> None:
        now[0] += 1.0
        step(self, *given)

    monkeypatch.setattr(trainer, "save_state", saving)
    monkeypatch.setattr(Learner, "step", stepping)
    monkeypatch.setattr(trainer.time, "monotonic", lambda: now[0])
    fit(make_tiny("optimisation.checkpoint_seconds=5"), fabric, folder)
    assert steps == [0, 5, 10, 11, 16, 21, 22, 27, 32, 33]  # every 5 seconds and every epoch


def test_a_finished_run_is_not_trained_again(make_tiny, fabric: Fabric, folder: RunFolder):
    inputs = make_tiny("optimisation.epochs=1")
    first = fit(inputs, fabric, folder)
    before = (folder.training / "state.pt").read_bytes()
    assert fit(inputs, fabric, folder, resume=True) == first
    assert (folder.training / "state.pt").read_bytes() == before


def test_nothing_to_resume_is_said(make_tiny, fabric: Fabric, folder: RunFolder):
    with pytest.raises(CheckpointError, match=r"training/state\.pt: no such file"):
        fit(make_tiny(), fabric, folder, resume=True)


def test_another_corpus_is_refused(make_tiny, fabric: Fabric, folder: RunFolder):
    inputs = make_tiny("optimisation.epochs=1")
    fit(inputs, fabric, folder)
    meta = inputs.meta.model_copy(update={"data_fingerprint": "other"})
    changed = RunInputs(
        **{**{name: getattr(inputs, name) for name in RunInputs.__slots__}, "meta": meta}
    )
    with pytest.raises(CheckpointError, match="begun on other pairs than the corpus gives now"):
        fit(changed, fabric, folder, resume=True)


def test_a_state_of_another_model_is_refused_in_one_line(
    make_tiny, fabric: Fabric, folder: RunFolder
):
    fit(make_tiny("optimisation.epochs=1"), fabric, folder)
    wider = make_tiny("optimisation.epochs=1", "model.decoder.hidden_size=15")
    with pytest.raises(CheckpointError, match="does not fit the run's config") as caught:
        fit(wider, fabric, folder, resume=True)
    assert "\n" not in str(caught.value)


def test_other_numerics_are_warned_about(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, capfd: pytest.CaptureFixture[str]
):
    inputs = make_tiny("optimisation.epochs=2")
    interrupt(monkeypatch, at_step=5)
    fit(inputs, fabric, folder)
    monkeypatch.setattr(Learner, "numerics", "cuda, bf16-mixed, 8 threads")
    fit(inputs, fabric, folder, resume=True)
    warned = capfd.readouterr().err
    assert "begun on cpu, 32-true, 1 threads, continued on cuda, bf16-mixed, 8 threads" in warned


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_why_steps_are_slow_is_said(
    make_tiny, folder: RunFolder, monkeypatch, capfd: pytest.CaptureFixture[str], precision: str
):
    """In bfloat16, which takes two to three times as long where nothing compiles the kernels."""
    monkeypatch.setattr("train.kernels.find_kernels", lambda: None)
    monkeypatch.setattr("train.trainer.explain_kernels", lambda: "torch, no compiler")
    fit(make_tiny("optimisation.epochs=1"), launched("cpu", precision), folder)
    said = capfd.readouterr().err
    assert said.count("bfloat16 by torch, no compiler\n") == (precision == "bf16")


def test_divergence_is_one_line_and_is_not_saved(make_tiny, fabric: Fabric, folder: RunFolder):
    broken = make_tiny("optimisation.learning_rate=1e30", "optimisation.epochs=1")
    with pytest.raises(ConfigError, match=r"training diverged: .*lower optimisation"):
        fit(broken, fabric, folder)
    saved = load_state(folder.training)
    assert all(bool(torch.isfinite(value).all()) for value in saved.parameters.values())


def test_a_validation_that_is_not_finite_is_one_line(
    make_tiny, fabric: Fabric, folder: RunFolder, monkeypatch, found: Validation
):
    objectives(monkeypatch, found, [float("nan")])
    with pytest.raises(ConfigError, match="after epoch 1 the validation objective is nan"):
        fit(make_tiny(), fabric, folder)
    assert not folder.best.exists()


def test_a_muted_latent_is_warned_about(
    make_tiny, fabric: Fabric, folder: RunFolder, capfd: pytest.CaptureFixture[str]
):
    # Twenty times the penalty from the first step: the scale goes to one and drowns the mean.
    values = [
        "objective.terms.mmd.weight=0",
        "model.posterior.initial_scale=1.0",
        "model.posterior.initial_deviation=0.1",
        "optimisation.learning_rate=1e-5",
        "optimisation.epochs=1",
    ]
    fit(make_tiny(*values), fabric, folder)
    assert "warning: the latent has stopped carrying the post" in capfd.readouterr().err
