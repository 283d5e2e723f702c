"""``python -m train.experiments``."""

from train.experiments.cli import app

app(prog_name="python -m train.experiments")
