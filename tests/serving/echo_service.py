"""``dialog-service``, serving the echo model of these tests in a process of its own.

    python echo_service.py serve --grpc-address 127.0.0.1:0 ...

``ECHO_SECONDS`` is how long the model takes over a batch, ``ECHO_VARIETY`` how many different
replies it has to one thing said.
"""

import os
from collections import deque

from echo_server import EchoModel, loaded

from dialog_service import cli
from dialog_service.serving import early_load


def model() -> EchoModel:
    made = EchoModel(variety=int(os.environ.get("ECHO_VARIETY", "1000000")))
    made.seconds = float(os.environ.get("ECHO_SECONDS", "0.002"))
    made.early = 1
    made.batches, made.finished = deque(maxlen=1), deque(maxlen=1)  # it runs for long
    return made


if __name__ == "__main__":
    early_load.EarlyLoad = lambda settings: lambda *_: loaded(model())
    cli.main()
