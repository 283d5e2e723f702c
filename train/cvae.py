"""Train CVAE, the conditional variational autoencoder: ``python -m train.cvae --help``."""

from train.cli import Choice, command
from train.variants import cvae


def choose() -> Choice:
    """CVAE has no flag of its own."""
    return Choice(cvae)


app = command(choose, "Train CVAE, the conditional variational autoencoder (Coupled-VAE, 2020).")

if __name__ == "__main__":
    app()
