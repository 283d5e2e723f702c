"""What a benchmark leaves behind: a table on the terminal, and a JSON document."""

import json
import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console

_TABLE_WIDTH = 110


def wide_console() -> Console:
    """One that squeezes no table, where output goes to a file too."""
    width = max(_TABLE_WIDTH, Console().width)
    return Console(width=width, highlight=False)


def save(output: Path, name: str, **found: Any) -> None:
    """Write NAME.json into a folder, which is made: what was found, and on which machine."""
    output.mkdir(parents=True, exist_ok=True)
    document = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", **found}
    (output / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
