"""Train WED-D or, with ``--stochastic``, WED-S: ``python -m train.wed --help``."""

from typing import Annotated

import typer

from train.cli import command
from train.variants import Variant, wed_d, wed_s


def choose(
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="WED-S: z is drawn from a Gaussian.")
    ] = False,
) -> Variant:
    """WED-S with ``--stochastic``, else WED-D."""
    return wed_s if stochastic else wed_d


app = command(choose, "Train a Wasserstein encoder-decoder (Stochastic WAE, 2019).")

if __name__ == "__main__":
    app()
