"""Model, objective and optimiser of a run: one step at a time. Knows no epochs and no files."""

import torch
from lightning_fabric import Fabric
from torch import nn

from dialog_service.errors import CheckpointError
from dialog_service.models.seq2seq import Batch, build_model
from train.config import RunConfig
from train.kernels import hasten
from train.loss_sums import LossSums
from train.objectives.objective import Losses, Step, TrainingPass
from train.optimiser import build_optimiser, clip, learning_rate
from train.ranks import Ranks
from train.state import RunPosition, TrainingState, restore_random_state


def _is_narrow_on_cpu(fabric: Fabric) -> bool:
    return fabric.device.type == "cpu" and fabric.strategy.precision.precision == "bf16-mixed"


def _tables_of_few(training_pass: TrainingPass, ranks: Ranks) -> list[nn.Embedding]:
    """Embeddings whose gradients name the words that there are, until they are all added up.

    A gradient of all words for every lookup costs a CPU more time than the lookups.
    """
    if ranks.count > 1 or ranks.fabric.device.type != "cpu":
        return []
    found = [part for part in training_pass.modules() if isinstance(part, nn.Embedding)]
    for table in found:
        table.sparse = True
    return found


class Learner:
    """What is trained, on this rank's device, and the losses of its epoch so far.

    ``is_by_torch``: it could run compiled, were there a compiler or another processor.
    """

    def __init__(self, config: RunConfig, ranks: Ranks) -> None:
        """Build everything; the seed fixes the parameters, and each rank's draws after them."""
        self.config = config
        self.ranks = ranks
        self.sums = LossSums()
        torch.manual_seed(config.seed)
        self.training_pass = TrainingPass(build_model(config.model), config.objective)
        is_narrow = _is_narrow_on_cpu(ranks.fabric)
        self._is_compiled = is_narrow and hasten(self.training_pass)
        self.is_by_torch = is_narrow and not self._is_compiled
        self._parameters = list(self.training_pass.parameters())
        self._tables = _tables_of_few(self.training_pass, ranks)
        optimiser = build_optimiser(self.training_pass, config.optimisation)
        self._wrapped, self._optimiser = ranks.fabric.setup(self.training_pass, optimiser)
        self._wrapped.train()
        torch.manual_seed(config.seed + 7919 * (1 + ranks.fabric.global_rank))

    @property
    def numerics(self) -> str:
        """What the last bits of a result depend on beside the config."""
        fabric = self.ranks.fabric
        precision = fabric.strategy.precision.precision
        by = "compiled for AMX, " if self._is_compiled else ""
        return f"{fabric.device.type}, {precision}, {by}{torch.get_num_threads()} threads"

    def step(self, batch: Batch, progress: float) -> None:
        """Descend once.

        Args:
            batch: this rank's rows.
            progress: steps done / steps planned, in [0, 1).
        """
        optimisation = self.config.optimisation
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(optimisation, progress)
        step = Step(progress=progress, gather=self.ranks.gather)
        losses: Losses = self._wrapped(batch, step)
        self.ranks.fabric.backward(losses.total)
        for table in self._tables:
            assert table.weight.grad is not None  # every batch has words
            table.weight.grad = table.weight.grad.to_dense()
        norm = clip(self._parameters, optimisation.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.sums.add(losses, norm)

    def state(self, position: RunPosition) -> TrainingState:
        """Everything a continuation needs, on every rank; all ranks take part."""
        position.sums = self.ranks.mean(self.sums.values())
        return TrainingState(
            position=position,
            parameters=dict(self.training_pass.state_dict()),
            optimiser=self._optimiser.state_dict(),
            random=self.ranks.random_states(),
            numerics=self.numerics,
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from what ``state`` gave.

        Raises:
            CheckpointError: it is that of another model or of another number of processes.
        """
        if len(state.random) != self.ranks.count:
            raise CheckpointError(
                f"the run was begun by {len(state.random)} processes, not {self.ranks.count}; "
                "start as many to continue it exactly"
            )
        try:
            self.training_pass.load_state_dict(state.parameters)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(f"the state does not fit the run's config: {reason}") from error
        self._optimiser.load_state_dict(state.optimiser)
        fabric = self.ranks.fabric
        self.sums.restore(state.position.sums, fabric.device)
        restore_random_state(state.random[fabric.global_rank], fabric.device)
