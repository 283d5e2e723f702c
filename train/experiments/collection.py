"""A table kept for good: its small files, without checkpoints, beside one another."""

from collections.abc import Sequence
from pathlib import Path

from dialog_service.checkpoint import META
from dialog_service.errors import ConfigError
from train.experiments.markdown import markdown
from train.experiments.request import Place, Request, Run
from train.experiments.result import Table, make_table
from train.experiments.row_folder import write_whole

TABLE_JSON, TABLE_MD = "table.json", "table.md"


def write_table(request: Request, finished: Sequence[Run], folder: Path) -> Table:
    """Write ``table.json`` and ``table.md`` of the finished runs into a folder.

    Raises:
        CheckpointError: a finished run's files cannot be read.
        ConfigError: the folder cannot be written.
    """
    table = make_table(request, finished)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / TABLE_JSON, table.model_dump_json(indent=2) + "\n")
        write_whole(folder / TABLE_MD, markdown(table, request.experiment))
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error
    return table


def collect(request: Request, finished: Sequence[Run], destination: Path) -> Path:
    """Copy the table and each finished run's small files to ``destination/<table>``.

    Raises:
        ConfigError: it cannot be written.
    """
    folder = destination / request.experiment.name
    write_table(request, finished, folder)
    kept = [
        (run.folder.path / name, folder / run.name / name)
        for run in finished
        for name in _kept(run)
    ]
    try:
        for source, target in kept:
            target.parent.mkdir(parents=True, exist_ok=True)
            told = _without_places(source.read_text(encoding="utf-8"), request.place)
            target.write_text(told, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--collect {destination}: {error.strerror}") from error
    return folder


def _without_places(text: str, place: Place) -> str:
    """The text with words for the folders of this machine: they are nobody else's."""
    names = {str(place.output): "RUNS"} | (
        {str(place.data_dir): "CORPORA"} if place.data_dir else {}
    )
    for folder, name in names.items():
        text = text.replace(folder, name)
    return text


def _kept(run: Run) -> list[str]:
    """The files of a run that are kept, those there are."""
    splits = [section.split for section in run.request.experiment.sections]
    reports = [f"{split}/{name}" for split in splits for name in ("report.json", TABLE_MD)]
    names = ["row.json", "resolved.json", "log.jsonl", f"best/{META}", *reports]
    return [name for name in names if (run.folder.path / name).is_file()]
