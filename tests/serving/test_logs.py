"""Log lines for people and for machines."""

import json
import logging

from dialog_service.serving.logs import ConsoleFormatter, JsonFormatter


def record(**extra: object) -> logging.LogRecord:
    logger = logging.getLogger("dialog_service.test")
    return logger.makeRecord(
        logger.name, logging.INFO, "file.py", 1, "%s done", ("it",), None, extra=extra
    )


def test_a_json_line_holds_what_was_given_beside_the_message():
    line = json.loads(JsonFormatter().format(record(code="OK", milliseconds=1.5)))
    assert line["message"] == "it done"
    assert line["level"] == "info"
    assert (line["code"], line["milliseconds"]) == ("OK", 1.5)
    assert line["time"].endswith("+00:00")


def test_a_traceback_is_one_field_of_a_json_line():
    failed = record()
    try:
        raise ValueError("no")
    except ValueError as error:
        failed.exc_info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    assert "ValueError: no" in json.loads(line)["traceback"]


def test_a_console_line_ends_with_pairs():
    line = ConsoleFormatter().format(record(code="OK"))
    assert line.endswith("it done code=OK")
