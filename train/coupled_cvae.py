"""Train Coupled-CVAE, a CVAE beside a deterministic companion: ``python -m train.coupled_cvae``."""

import enum
from typing import Annotated

import typer

from train.cli import Choice, command
from train.variants import coupled_cvae


class Match(enum.StrEnum):
    """How the two maps of z are compared."""

    RQ = "rq"
    EUCLIDEAN = "euclidean"


def choose(
    match: Annotated[
        Match | None,
        typer.Option(help="Rational quadratic kernels or squared distance.", show_default="rq"),
    ] = None,
    lambda_m: Annotated[
        float | None, typer.Option(min=0.0, help="Weight of the match.", show_default="2")
    ] = None,
    lambda_r: Annotated[
        float | None,
        typer.Option(min=0.0, help="Weight of the companion's reconstruction.", show_default="1"),
    ] = None,
) -> Choice:
    """Coupled-CVAE with what the flags say of its coupling."""
    said = {"match": match, "match_weight": lambda_m, "reconstruction_weight": lambda_r}
    return Choice(
        coupled_cvae,
        tuple(
            f"objective.terms.coupling.{name}={value}"
            for name, value in said.items()
            if value is not None
        ),
    )


app = command(choose, "Train Coupled-CVAE (Coupled-VAE, 2020): its companion is never served.")

if __name__ == "__main__":
    app()
