"""Train WED-D or, with ``--stochastic``, WED-S: ``python -m train.wed --help``."""

from typing import Annotated

import typer

from train.cli import Choice, command
from train.variants import wed_d, wed_s


def choose(
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="WED-S: z is drawn from a Gaussian.")
    ] = False,
) -> Choice:
    """WED-S with ``--stochastic``, else WED-D."""
    return Choice(wed_s if stochastic else wed_d)


app = command(choose, "Train a Wasserstein encoder-decoder (Stochastic WAE, 2019).")

if __name__ == "__main__":
    app()
