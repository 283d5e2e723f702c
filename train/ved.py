"""Train VED, the variational encoder-decoder: ``python -m train.ved --help``."""

from train.cli import Choice, command
from train.variants import ved


def choose() -> Choice:
    """VED has no flag of its own."""
    return Choice(ved)


app = command(choose, "Train VED, the variational encoder-decoder (Stochastic WAE, 2019).")

if __name__ == "__main__":
    app()
