"""``python -m train.evaluate``."""

from train.evaluate.cli import app

app(prog_name="python -m train.evaluate")
