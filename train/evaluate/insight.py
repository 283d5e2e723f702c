"""What only a checkpoint shows, beside its rows: likelihood, latent, other decodings, its run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from train.evaluate.job import Job
from train.evaluate.options import CheckpointSubject, Options
from train.metrics.health import ModelHealth
from train.metrics.null_rows import Role
from train.metrics.probes import Probes
from train.metrics.report import Curve

if TYPE_CHECKING:  # a file of replies is judged without torch
    from train.evaluate.origin import LoadedSubject


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """Parts of a report, each of which may be left out."""

    health: ModelHealth | None = None
    probes: Probes | None = None
    curves: tuple[Curve, ...] = ()


def look_into(loaded: "LoadedSubject", job: Job, options: Options, console: Console) -> Insight:
    """Measure what the options do not leave out, after the job is done.

    Raises:
        UserError: the run's log cannot be read.
    """
    from train.evaluate.curves import read_curves

    wanted = options.extras
    return Insight(
        probes=_probes(loaded, job, options, console) if wanted.probes else None,
        health=_health(loaded.subject, job, options, console) if wanted.health else None,
        curves=read_curves(loaded.subject.directory),
    )


def _health(
    subject: CheckpointSubject, job: Job, options: Options, console: Console
) -> ModelHealth:
    from dialog_service.checkpoint import load_checkpoint
    from train.evaluate.health import HealthOptions, measure_health

    # Loaded anew: what answers may be in another precision.
    asked = HealthOptions(seed=options.seed, device=subject.device)
    return measure_health(load_checkpoint(subject.directory), tuple(job.cases), asked, console)


def _probes(loaded: "LoadedSubject", job: Job, options: Options, console: Console) -> Probes:
    from train.evaluate.probes import ProbeOptions, make_probes

    asked = ProbeOptions(
        sampling=loaded.sampling,
        seed=options.seed,
        others=tuple(system for system in job.systems if system.role is not Role.SYSTEM),
        batch_size=options.batch_size,
    )
    return make_probes(loaded.generator, tuple(job.cases), job.tellers, asked, console)
