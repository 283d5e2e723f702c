"""What a run needs to continue exactly: saved aside, flushed and renamed, like a checkpoint."""

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dialog_service.checkpoint import DirectoryReplacement
from dialog_service.errors import CheckpointError

STATE = "state.pt"


@dataclass(slots=True)
class RunPosition:
    """Where a run stands: everything that is neither a parameter nor a random state.

    Counts from zero: ``epoch`` is the one under way, ``best_epoch`` -1 before the first has ended.
    ``is_best_settled`` tells whether the best epoch's weights had come to rest, so that its metric
    compares with later ones.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0
    best_metric: float = float("inf")
    best_epoch: int = -1
    is_best_settled: bool = True
    is_finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """The parts of ``state.pt``: tensors and plain values alone, so that loading runs no code.

    ``random`` has one entry per rank. ``data_fingerprint`` and ``numerics`` (device, precision,
    threads) tell whether a continuation is the same run; empty in a state that did not keep them.
    """

    position: RunPosition
    parameters: dict[str, Tensor]
    optimiser: dict[str, Any]
    random: list[dict[str, Tensor]]
    data_fingerprint: str = ""
    numerics: str = ""


def random_state(device: torch.device) -> dict[str, Tensor]:
    """This process's random state."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put ``random_state`` back."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def save_state(state: TrainingState, directory: Path) -> None:
    """Write the state so that ``directory`` always holds a whole one.

    Raises:
        CheckpointError: the disk is full or the place cannot be written.
    """
    content = {
        "position": asdict(state.position),
        "parameters": state.parameters,
        "optimiser": state.optimiser,
        "random": state.random,
        "data_fingerprint": state.data_fingerprint,
        "numerics": state.numerics,
    }
    # Through memory: torch's own writer does not say that a disk is full.
    written = io.BytesIO()
    torch.save(content, written)
    with DirectoryReplacement(directory) as aside:
        (aside / STATE).write_bytes(written.getbuffer())


def load_state(directory: Path) -> TrainingState:
    """Read a state onto the CPU.

    Raises:
        CheckpointError: there is none, or it is not readable.
    """
    path = directory / STATE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        position = RunPosition(**content.pop("position"))
        return TrainingState(position=position, **content)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file, so there is no run to resume") from error
    except Exception as error:  # torch.load fails in many ways on a damaged file
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: not a readable training state: {reason}") from error
