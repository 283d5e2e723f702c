"""Log lines for people or for machines. No utterance ever stands in one."""

import json
import logging
import sys
from datetime import UTC, datetime

from dialog_service.serving import tracing

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(log_format: str, level: str, replica: int | None = None) -> None:
    """Send the logs of this process to stderr, as "console" or "json" lines.

    Of several processes, ``replica`` says in every line which one wrote it.
    """

    def mark(record: logging.LogRecord) -> bool:
        record.replica = replica
        return True

    handler = logging.StreamHandler(sys.stderr)
    if replica is not None:
        handler.addFilter(mark)
    handler.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def extras(record: logging.LogRecord) -> dict[str, object]:
    """What was given as ``extra``, and the trace of the call that it is about, if any."""
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    trace_id = tracing.current().trace_id
    return {**given, "trace_id": trace_id} if trace_id else given


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, what was given as ``extra``, and the traceback if any."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level and message, then name=value pairs."""

    def __init__(self) -> None:
        """With the time of day."""
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback, which the parent adds."""
        pairs = [f"{name}={value}" for name, value in extras(record).items()]
        return " ".join([super().formatMessage(record), *pairs])
