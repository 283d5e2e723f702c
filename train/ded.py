"""Train DED, the deterministic encoder-decoder: ``python -m train.ded --help``."""

from train.cli import Choice, command
from train.variants import ded


def choose() -> Choice:
    """DED has no flag of its own."""
    return Choice(ded)


app = command(choose, "Train DED, the deterministic encoder-decoder (Stochastic WAE, 2019).")

if __name__ == "__main__":
    app()
