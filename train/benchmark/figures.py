"""What a benchmark found: documents, as written to JSON. Knows neither torch nor a clock."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Axis = Literal["batch size", "vocabulary", "hidden size", "corpus"]


class Figures(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Figures):
    """Where it was measured; ``square_flops`` is FLOP/s of one large square product there."""

    processor: str
    torch: str
    threads: int
    precision: str
    square_flops: float


class StepFigures(Figures):
    """Whole training steps, one after the other: ``seconds`` of each, batch making included.

    ``memory_bytes`` is the peak less what the process (or device) held before the model was
    built. Tokens are real ones: of contexts, and of responses with end-of-sequence.
    """

    seconds: tuple[float, ...]
    median_seconds: float
    pairs_per_second: float
    tokens_per_second: float
    memory_bytes: int
    peak_bytes: int
    parameters: int


class OperatorFigures(Figures):
    """One operator of a step, mean over batches of the median over rounds.

    ``ideal_seconds`` is what its products took, alone, in the same rounds: or, of an operator
    that only moves memory, moving as many bytes. None where it has neither.
    """

    name: str
    seconds: float
    flops: int
    ideal_seconds: float | None

    @property
    def share(self) -> float | None:
        """Of the ceiling: 1 is as fast as its products alone."""
        return None if self.ideal_seconds is None else self.ideal_seconds / self.seconds

    @property
    def flops_per_second(self) -> float:
        """Reached."""
        return self.flops / self.seconds


class Roofline(Figures):
    """The operators of a step, and the step in the same rounds."""

    step_seconds: float
    operators: tuple[OperatorFigures, ...]

    @property
    def flops(self) -> int:
        """All products of a step."""
        return sum(operator.flops for operator in self.operators)

    @property
    def share(self) -> float:
        """Time of all products alone, of the time of the whole step."""
        ideal = [o.ideal_seconds or 0.0 for o in self.operators if o.flops]
        return sum(ideal) / self.step_seconds


class GrowthPoint(Figures):
    """A step where one size is ``factor`` times what it was, in a process of its own."""

    axis: Axis
    factor: int
    size: int
    step: StepFigures


class PlainStep(Figures):
    """A step of the library's layers over padded batches, all scores at once.

    ``times_longer`` than the benchmark's own step, measured in turns with it.
    """

    median_seconds: float
    times_longer: float


class Benchmark(Figures):
    """One benchmark, whole; ``share_of_ceiling`` is the roofline's, repeated for whoever asks."""

    variant: str
    preset: str
    pairs_from: str
    pairs: int
    batch_size: int
    machine: Machine
    step: StepFigures
    flops_per_step: int
    flops_per_second: float
    share_of_ceiling: float
    roofline: Roofline
    growth: tuple[GrowthPoint, ...] = ()
    plain: PlainStep | None = None
    config: dict[str, Any]
