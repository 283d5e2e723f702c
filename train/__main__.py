"""Train any row of ``variants.py``: ``python -m train VARIANT --help``."""

from typing import Annotated

import typer

from dialog_service.errors import ConfigError
from train.cli import Choice, command
from train.variants import VARIANTS


def choose(
    variant: Annotated[str, typer.Argument(help=f"One of {', '.join(VARIANTS)}.")],
) -> Choice:
    """The variant of that name, as its row has it."""
    if variant not in VARIANTS:
        raise ConfigError(f"variant {variant!r}: allowed are {', '.join(VARIANTS)}")
    return Choice(VARIANTS[variant])


app = command(choose, "Train any variant by its name, with the values its row gives.")

if __name__ == "__main__":
    app(prog_name="python -m train")
