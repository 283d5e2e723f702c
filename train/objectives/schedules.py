"""How a term's weight moves over a run: pure functions of its progress, so a resume keeps them."""

from train.config import ScheduleConfig


def schedule_factor(config: ScheduleConfig, progress: float) -> float:
    """The share of a weight that applies; the one place that reads ``schedule.kind``.

    Args:
        config: the schedule.
        progress: steps done / steps planned, in [0, 1].
    """
    match config.kind:
        case "constant":
            return 1.0
        case "ramp":
            return min(1.0, max(0.0, (progress - config.start) / (config.end - config.start)))
