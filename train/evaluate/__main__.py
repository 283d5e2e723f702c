"""``python -m train.evaluate``."""

from dialog_service.spinning import spin_briefly
from train.evaluate.cli import app

spin_briefly()  # nothing has brought torch yet
app(prog_name="python -m train.evaluate")
