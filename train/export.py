"""Make a checkpoint small and final: ``python -m train.export RUN/best --output DIR``.

Weights in half precision, the defaults of sampling as chosen.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import ValidationError

from dialog_service.checkpoint import (
    Checkpoint,
    SamplingDefaults,
    load_checkpoint,
    refuse_replacing_others,
    save_checkpoint,
)
from dialog_service.errors import ConfigError, UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
DEFAULTS = ("temperature", "top_k", "top_p", "latent_scale")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint directory, RUN/best.")],
    output: Annotated[Path, typer.Option(help="The directory to write.")],
    version: Annotated[str, typer.Option(help="What clients see as its version.")] = "1",
    temperature: Annotated[float | None, typer.Option(help="New default.")] = None,
    top_k: Annotated[int | None, typer.Option(help="New default.")] = None,
    top_p: Annotated[float | None, typer.Option(help="New default.")] = None,
    latent_scale: Annotated[float | None, typer.Option(help="New default.")] = None,
) -> None:
    """Write a checkpoint with half-precision weights and, where said, other sampling defaults."""
    asked = dict(zip(DEFAULTS, (temperature, top_k, top_p, latent_scale), strict=True))
    changes = {name: value for name, value in asked.items() if value is not None}
    try:
        refuse_replacing_others(output)
        changed = _changed(load_checkpoint(checkpoint), version, changes)
        save_checkpoint(changed, output, dtype=torch.float16)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    size = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    typer.echo(f"{output}: {size:.1f} MB")


def _changed(checkpoint: Checkpoint, version: str, changes: dict[str, float]) -> Checkpoint:
    """The same model, as another version with other defaults; values are checked as on loading."""
    sampling = {**checkpoint.sampling.model_dump(), **changes}
    return Checkpoint(
        model=checkpoint.model,
        vocabulary=checkpoint.vocabulary,
        sampling=_defaults(sampling),
        meta=checkpoint.meta.model_copy(update={"version": version}),
    )


def _defaults(values: dict[str, float]) -> SamplingDefaults:
    try:
        return SamplingDefaults.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{flag}: {first['msg']}") from error


if __name__ == "__main__":
    app()
