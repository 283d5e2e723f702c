"""Train the GRU encoder-decoder: ``python -m train.gru --help``."""

from train.cli import Choice, command
from train.variants import gru


def choose() -> Choice:
    """The GRU encoder-decoder has no flag of its own."""
    return Choice(gru)


app = command(choose, "Train the GRU encoder-decoder (the baseline of Coupled-VAE, 2020).")

if __name__ == "__main__":
    app()
