"""``python -m train.benchmark``."""

from train.benchmark.cli import app

if __name__ == "__main__":  # a growth table's processes import this module again
    app(prog_name="python -m train.benchmark")
