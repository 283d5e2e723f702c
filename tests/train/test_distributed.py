"""Two CPU processes under torchrun train what one process would."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from dialog_service.checkpoint import load_checkpoint
from dialog_service.errors import CheckpointError
from dialog_service.models.distributions import DiagonalGaussian
from train.learner import Learner
from train.objectives.objective import Step
from train.ranks import Ranks
from train.run_folder import RunFolder
from train.state import load_state
from train.trainer import fit

NO_DROPOUT = (
    "model.encoder.dropout=0",
    "model.decoder.dropout=0",
    "model.decoder.output_dropout=0",
)
Found = dict[str, Any]


@pytest.fixture(scope="module")
def results(
    toy: Path, tiny_flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Found, Found]:
    """Where two ranks trained, and what each of them found."""
    folder = tmp_path_factory.mktemp("ranks")
    values = [flag for flag in tiny_flags if "=" in flag]
    program = [Path(__file__).parent / "two_ranks.py", toy, folder, *values]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [sys.executable, *launcher, *map(str, program)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, second = (torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1))
    return folder, first, second


def test_mmd_and_gradient_are_those_of_one_process_on_the_same_rows(
    results: tuple[Path, Found, Found], make_tiny, fabric: Fabric
):
    _, first, second = results
    inputs = make_tiny(*NO_DROPOUT, variant="wed_d")
    learner = Learner(inputs.config, Ranks(fabric))
    draws = []
    for rank in (0, 1):
        torch.manual_seed(100 + rank)
        draws.append(DiagonalGaussian.standard(torch.empty(8, 6)).sample())

    def gather(local: torch.Tensor) -> torch.Tensor:
        return local if local.requires_grad else torch.cat(draws)

    losses = learner.training_pass(inputs.train.batch(torch.arange(16)), Step(1.0, gather))
    losses.total.backward()
    assert first["gradient"]["mmd"] == pytest.approx(losses.terms["mmd"].item(), rel=1e-5)
    assert second["gradient"]["mmd"] == pytest.approx(losses.terms["mmd"].item(), rel=1e-5)
    halves = [found["gradient"]["reconstruction"] for found in (first, second)]
    assert sum(halves) / 2 == pytest.approx(losses.reconstruction.item(), rel=1e-5)
    for name, parameter in learner.training_pass.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
        for found in (first, second):
            torch.testing.assert_close(
                found["gradient"]["gradients"][name], parameter.grad, atol=1e-4, rtol=1e-4
            )


def assert_equal_parameters(one: Found, other: Found) -> None:
    assert one["parameters"].keys() == other["parameters"].keys()
    for name, value in one["parameters"].items():
        assert torch.equal(value, other["parameters"][name]), name


def test_both_ranks_end_with_equal_parameters_and_one_result(results: tuple[Path, Found, Found]):
    folder, first, second = results
    assert_equal_parameters(first["whole"], second["whole"])
    assert first["whole"]["result"] == second["whole"]["result"]
    saved = load_state(folder / "whole" / "training")
    assert_equal_parameters({"parameters": saved.parameters}, first["whole"])
    assert len(saved.random) == 2
    assert not torch.equal(saved.random[0]["cpu"], saved.random[1]["cpu"])  # dropout differs
    assert load_checkpoint(folder / "whole").meta.variant == "wed_s"


def test_the_first_rank_alone_writes_the_log(results: tuple[Path, Found, Found]):
    folder, *_ = results
    assert len((folder / "whole" / "log.jsonl").read_text().splitlines()) == 6
    assert len(list((folder / "whole" / "tensorboard").iterdir())) == 1


def test_a_signal_to_one_rank_stops_both_and_nothing_is_lost(
    results: tuple[Path, Found, Found],
):
    _, first, second = results
    for found in (first, second):
        assert found["interrupted"]["result"][0] is signal.SIGTERM
    assert_equal_parameters(first["interrupted"], second["interrupted"])
    for found in (first, second):
        assert found["resumed"]["result"] == found["whole"]["result"]
        assert_equal_parameters(found["resumed"], found["whole"])


def test_a_batch_that_cannot_be_shared_is_refused(results: tuple[Path, Found, Found]):
    for found in results[1:]:
        assert found["odd"] == (
            "ConfigError: optimisation.batch_size: 63 must be a multiple of the 2 processes"
        )


def test_a_run_of_two_processes_is_not_continued_by_one(
    results: tuple[Path, Found, Found], make_tiny, fabric: Fabric
):
    with pytest.raises(CheckpointError, match="begun by 2 processes, not 1; start as many"):
        fit(make_tiny(), fabric, RunFolder(results[0] / "stopped"), resume=True)
