"""``python -m train.data``: see ``train.data.stats``."""

from train.data.stats import app

app(prog_name="python -m train.data")
