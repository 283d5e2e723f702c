"""What each process of a data-parallel run does in test_distributed: started by torchrun.

Arguments: the toy corpus, the folder for results, then ``path=value`` of the config.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from train import trainer
from train.data.corpora import CorpusSource
from train.data.examples import load_examples
from train.launch import launched
from train.learner import Learner
from train.objectives.objective import Step
from train.overrides import overridden
from train.presets import SMALL
from train.ranks import Ranks
from train.run_folder import RunFolder
from train.run_inputs import RunInputs, make_inputs
from train.variants import VARIANTS

NO_DROPOUT = (
    "model.encoder.dropout=0",
    "model.decoder.dropout=0",
    "model.decoder.output_dropout=0",
)
TOY, RESULTS, *VALUES = sys.argv[1:]
FABRIC = launched("cpu", "fp32")
EXAMPLES = load_examples(CorpusSource(corpus="dailydialog", data_dir=Path(TOY)))


def inputs_of(variant: str, *values: str) -> RunInputs:
    return make_inputs(overridden(VARIANTS[variant](SMALL), [*VALUES, *values]), EXAMPLES)


def one_gradient() -> dict[str, object]:
    """MMD and the gradient of one step of WED-D without dropout: this rank has every other row."""
    inputs = inputs_of("wed_d", *NO_DROPOUT)
    learner = Learner(inputs.config, Ranks(FABRIC))
    rows = torch.arange(FABRIC.global_rank, 16, 2)
    torch.manual_seed(100 + FABRIC.global_rank)  # the prior's draws
    step = Step(progress=1.0, gather=learner.ranks.gather)
    losses = learner._wrapped(inputs.train.batch(rows), step)
    FABRIC.backward(losses.total)
    gradients = {name: p.grad for name, p in learner.training_pass.named_parameters()}
    return {
        "mmd": losses.terms["mmd"].item(),
        "reconstruction": losses.reconstruction.item(),
        "gradients": gradients,
    }


def trained(folder: RunFolder, inputs: RunInputs, *, resume: bool = False) -> dict[str, object]:
    """A whole run; the parameters this rank ends with."""
    learners: list[Learner] = []

    class Kept(Learner):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            learners.append(self)

    trainer.Learner = Kept
    result = trainer.fit(inputs, FABRIC, folder, resume=resume)
    return {
        "result": (result.interrupted_by, result.epochs, result.best_epoch, result.best_metric),
        "parameters": learners[0].training_pass.state_dict(),
    }


def interrupted(folder: RunFolder, inputs: RunInputs) -> dict[str, object]:
    """A run of which the second rank alone gets a SIGTERM at its fifteenth step."""
    step, calls = Learner.step, []

    def counted(self: Learner, *given: object) -> None:
        calls.append(given)
        if len(calls) == 15 and FABRIC.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, *given)

    Learner.step = counted
    try:
        return trained(folder, inputs)
    finally:
        Learner.step = step


def begun(name: str) -> RunFolder:
    folder = RunFolder(Path(RESULTS) / name)
    folder.path.mkdir(exist_ok=True)
    return folder


def refusal(inputs: RunInputs, folder: RunFolder, *, resume: bool = False) -> str:
    try:
        trainer.fit(inputs, FABRIC, folder, resume=resume)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def main() -> None:
    # Saves fall due at every chance, on the clock of each rank.
    inputs = inputs_of("wed_s", "optimisation.checkpoint_seconds=0.01")
    found = {
        "gradient": one_gradient(),
        "whole": trained(begun("whole"), inputs),
        "interrupted": interrupted(begun("stopped"), inputs),
        "resumed": trained(begun("stopped"), inputs, resume=True),
        "odd": refusal(inputs_of("wed_s", "optimisation.batch_size=63"), begun("odd")),
    }
    torch.save(found, Path(RESULTS) / f"rank{FABRIC.global_rank}.pt")
    FABRIC.barrier()
    torch.distributed.destroy_process_group()


main()
