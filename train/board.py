"""Figures as TensorBoard reads them, written at once.

``SummaryWriter`` writes from a thread of its own, where a full disk is a traceback that no caller
can turn into a message; an epoch's few figures need no thread.
"""

import os
import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]


class Board(AbstractContextManager["Board"]):
    """One event file in a folder of them."""

    def __init__(self, directory: Path, *, first_step: int) -> None:
        """Open a new file; what earlier files say from ``first_step`` on no longer counts.

        Raises:
            OSError: it cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (directory / name).open("wb")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(session_log=SessionLog(status=SessionLog.START), step=first_step)

    def add(self, figures: dict[str, float], step: int) -> None:
        """One point of a curve each; raises OSError."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write(summary=Summary(value=values), step=step)

    def __exit__(self, *_: object) -> None:
        """Close the file; raises OSError."""
        self._file.close()

    def _write(self, **content: Any) -> None:
        self._records.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._records.flush()
