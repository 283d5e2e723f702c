"""Train DED, the deterministic encoder-decoder: ``python -m train.ded --help``."""

from train.cli import command
from train.variants import Variant, ded


def choose() -> Variant:
    """DED has no flag of its own."""
    return ded


app = command(choose, "Train DED, the deterministic encoder-decoder (Stochastic WAE, 2019).")

if __name__ == "__main__":
    app()
