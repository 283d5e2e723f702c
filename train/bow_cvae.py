"""Train our own model, a CVAE with a bag-of-words loss: ``python -m train.bow_cvae --help``."""

from train.cli import Choice, command
from train.variants import bow_cvae


def choose() -> Choice:
    """The one variant that this command trains."""
    return Choice(bow_cvae)


app = command(choose, "Train the CVAE with bag-of-words loss over several turns, our own model.")

if __name__ == "__main__":
    app()
