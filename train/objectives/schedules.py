"""How a term's weight moves over a run.

A schedule is a module: what it has observed lies in its buffers, so the saved state of a run holds
it, a resumed run keeps its objective, and no step waits for a figure to come off the device.
"""

import torch
from torch import Tensor, nn

from train.config import RampSchedule, ScheduleConfig, SigmoidSchedule


class _Planned(nn.Module):
    """A schedule that is known before the run."""

    is_settled = True

    def observe(self, weighted: Tensor, progress: float) -> None:
        """Nothing follows from the weighted term's value."""


class Constant(_Planned):
    """The whole weight throughout."""

    def forward(self, progress: float) -> float:
        """1 at any ``progress`` = steps done / steps planned."""
        return 1.0


class Ramp(_Planned):
    """Zero, then linear to one."""

    def __init__(self, config: RampSchedule) -> None:
        """Keep both ends."""
        super().__init__()
        self.start, self.end = config.start, config.end

    def forward(self, progress: float) -> float:
        """The share of the weight at ``progress`` = steps done / steps planned."""
        return min(1.0, max(0.0, (progress - self.start) / (self.end - self.start)))


class Sigmoid(nn.Module):
    """logistic((progress - center) / width), held from where it stopped or peaked."""

    stop: Tensor
    reached: Tensor
    average: Tensor
    peak: Tensor
    peak_at: Tensor

    def __init__(self, config: SigmoidSchedule) -> None:
        """Start before the first step, with a stop only if one is pinned."""
        super().__init__()
        self.config = config
        pinned = float("inf") if config.stop is None else config.stop
        for name, start in (
            ("stop", pinned),
            ("reached", 0.0),
            ("average", 0.0),
            ("peak", 0.0),
            ("peak_at", 0.0),
        ):
            self.register_buffer(name, torch.tensor(start, dtype=torch.float64))

    @property
    def is_settled(self) -> bool:
        """Whether the weight has come to rest; read between epochs, since it waits for a device."""
        return bool(self.reached >= self.stop)

    def forward(self, progress: float) -> Tensor:
        """() share of the weight; in evaluation that of the last training step."""
        place = self.stop.clamp(max=progress)
        if not self.training:
            place = torch.minimum(place, self.reached)
        return torch.sigmoid((place - self.config.center) / self.config.width).float()

    @torch.no_grad()
    def observe(self, weighted: Tensor, progress: float) -> None:
        """Note a step's weighted term, and stop at its peak once that is long enough past.

        Args:
            weighted: () share of the weight x term.
            progress: of that step.

        Several processes each see their own rows' term; the first one's schedule is everybody's.
        """
        share = ((progress - self.reached) / self.config.window).clamp(0.0, 1.0)
        self.reached.fill_(progress)
        if self.config.stop is not None:
            return
        self.average.lerp_(weighted.double(), share)
        is_higher = self.average > self.peak
        self.peak.copy_(torch.where(is_higher, self.average, self.peak))
        self.peak_at.copy_(torch.where(is_higher, self.reached, self.peak_at))
        is_past = self.reached - self.peak_at > self.config.patience
        self.stop.copy_(torch.where(is_past, torch.minimum(self.stop, self.peak_at), self.stop))


Schedule = Constant | Ramp | Sigmoid


def build_schedule(config: ScheduleConfig) -> Schedule:
    """The schedule of a config: the one place that reads ``schedule.kind``."""
    match config.kind:
        case "constant":
            return Constant()
        case "ramp":
            return Ramp(config)
        case "sigmoid":
            return Sigmoid(config)
