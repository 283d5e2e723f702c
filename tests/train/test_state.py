"""The saved state: whole or not at all, read back to the last bit, foreign ones refused."""

import resource
from pathlib import Path

import pytest
import torch

from dialog_service.errors import CheckpointError
from train.state import (
    STATE,
    RunPosition,
    TrainingState,
    load_state,
    random_state,
    restore_random_state,
    save_state,
)

CPU = torch.device("cpu")


def state(step: int = 5, rows: int = 3) -> TrainingState:
    torch.manual_seed(step)
    module = torch.nn.Linear(rows, rows)
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.randn(2, rows)).sum().backward()
    optimiser.step()
    return TrainingState(
        position=RunPosition(epoch=1, step=step, best_metric=0.1 + 0.2, sums={"nll": 1 / 3}),
        parameters=dict(module.state_dict()),
        optimiser=optimiser.state_dict(),
        random=[random_state(CPU)],
        data_fingerprint="abc",
        numerics="cpu",
    )


def test_a_state_is_read_back_to_the_last_bit(tmp_path: Path):
    saved = state()
    save_state(saved, tmp_path / "training")
    loaded = load_state(tmp_path / "training")
    assert loaded.position == saved.position
    assert (loaded.data_fingerprint, loaded.numerics) == ("abc", "cpu")
    for name, value in saved.parameters.items():
        assert torch.equal(loaded.parameters[name], value)
    moments = saved.optimiser["state"][0]
    assert all(torch.equal(loaded.optimiser["state"][0][name], moments[name]) for name in moments)
    assert torch.equal(loaded.random[0]["cpu"], saved.random[0]["cpu"])


def test_a_restored_random_state_repeats_its_draws():
    kept = random_state(CPU)
    first = torch.randn(3)
    torch.manual_seed(1)
    restore_random_state(kept, CPU)
    assert torch.equal(torch.randn(3), first)


def test_a_state_that_keeps_less_is_still_read(tmp_path: Path):
    whole = state()
    older = {
        "position": {"epoch": 2, "step_in_epoch": 1, "step": 7},
        "parameters": whole.parameters,
        "optimiser": whole.optimiser,
        "random": whole.random,
    }
    torch.save(older, tmp_path / STATE)
    loaded = load_state(tmp_path)
    assert loaded.position == RunPosition(epoch=2, step_in_epoch=1, step=7)
    assert (loaded.data_fingerprint, loaded.numerics) == ("", "")


def test_no_state_is_one_line_that_names_the_file(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"training/state\.pt: no such file"):
        load_state(tmp_path / "training")


@pytest.mark.parametrize("damage", ["cut", "text", "foreign"])
def test_a_damaged_state_is_one_line_that_names_the_file(tmp_path: Path, damage: str):
    save_state(state(), tmp_path)
    path = tmp_path / STATE
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-100])
        case "text":
            path.write_text("not a state")
        case "foreign":
            torch.save({"position": {"epoque": 1}}, path)
    with pytest.raises(CheckpointError, match=r"state\.pt: not a readable") as caught:
        load_state(tmp_path)
    assert "\n" not in str(caught.value)


class RunsCode:
    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.made,)


def test_a_state_runs_no_code(tmp_path: Path):
    torch.save({"position": {}, "random": RunsCode(tmp_path / "made")}, tmp_path / STATE)
    with pytest.raises(CheckpointError, match="not a readable training state"):
        load_state(tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_full_disk_is_one_line_and_leaves_the_state_before(tmp_path: Path):
    save_state(state(step=5), tmp_path / "training")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(
            CheckpointError, match=r"training: cannot write .*File too large"
        ) as caught:
            save_state(state(step=6, rows=200), tmp_path / "training")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert load_state(tmp_path / "training").position.step == 5
    assert [path.name for path in tmp_path.iterdir()] == ["training"]
