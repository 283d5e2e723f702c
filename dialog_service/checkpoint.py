"""A checkpoint: a directory of config, vocabulary, weights and meta; nothing in it is executed.

::

    config.json           what the model is            (ModelConfig, and how it replies by default)
    spm.model             its vocabulary               (SentencePiece)
    weights.safetensors   its parameters
    meta.json             where it comes from          (variant, seed, commit, data, metrics)

Written aside, flushed to disk and moved into place, so a directory of that name is whole.
"""

import contextlib
import ctypes
import glob
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import ConfigDict, Field, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dialog_service.errors import CheckpointError
from dialog_service.models.config import Config, ModelConfig
from dialog_service.models.seq2seq import LatentSeq2Seq, build_model
from dialog_service.vocabulary import Vocabulary

DEFAULT_CHECKPOINT = Path(__file__).parent / "checkpoints" / "default"
CONFIG, VOCABULARY, WEIGHTS, META = "config.json", "spm.model", "weights.safetensors", "meta.json"
BEST = "best"
_AT_WORKING_DIRECTORY, _EXCHANGE = -100, 2  # of Linux's renameat2

_Document = TypeVar("_Document", bound=Config)


class SamplingDefaults(Config):
    """How the model replies where a request does not say; temperature 0 is greedy given z."""

    temperature: float = Field(default=1.0, ge=0.0, le=5.0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    latent_scale: float = Field(default=1.0, ge=0.0, le=4.0)


class CheckpointConfig(Config):
    """``config.json``."""

    format: Literal[1] = 1
    model: ModelConfig
    sampling: SamplingDefaults = SamplingDefaults()


class CheckpointMeta(Config):
    """``meta.json``: where the weights come from; figures are for people, nothing reads them.

    ``run`` is the whole resolved config of the training run, as its trainer writes it.
    """

    # JSON has no infinity, and a figure of a point mass may be infinite.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    variant: str
    preset: str
    corpus: str
    seed: int
    commit: str
    data_fingerprint: str
    version: str = "1"
    metrics: dict[str, float] = Field(default_factory=dict)
    run: dict[str, JsonValue] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model with all that is needed to reply with it."""

    model: LatentSeq2Seq
    vocabulary: Vocabulary
    sampling: SamplingDefaults
    meta: CheckpointMeta


def save_checkpoint(
    checkpoint: Checkpoint, directory: Path, *, dtype: torch.dtype | None = None
) -> None:
    """Write a checkpoint so that ``directory`` is at any moment absent, the old one or the new one.

    Args:
        checkpoint: what to write; the model may be on any device.
        directory: where; an older checkpoint there is replaced.
        dtype: store the weights in this type (float16 halves the size); None keeps theirs.

    Raises:
        CheckpointError: the disk is full or the place cannot be written.
    """
    config = CheckpointConfig(model=checkpoint.model.config, sampling=checkpoint.sampling)
    with DirectoryReplacement(directory) as aside:
        (aside / CONFIG).write_text(_written(config) + "\n", encoding="utf-8")
        (aside / META).write_text(
            checkpoint.meta.model_dump_json(indent=2) + "\n", encoding="utf-8"
        )
        (aside / VOCABULARY).write_bytes(checkpoint.vocabulary.model_proto)
        # Not safetensors' own writing to a file, which hides it from every other user.
        (aside / WEIGHTS).write_bytes(safetensors.save(_stored_weights(checkpoint.model, dtype)))


def refuse_replacing_others(directory: Path) -> None:
    """Make sure that a checkpoint written here takes the place of nothing but an older one.

    Raises:
        CheckpointError: something else is there, which ``save_checkpoint`` would delete.
    """
    try:
        names = set(os.listdir(directory)) if directory.is_dir() else set()
    except OSError as error:
        raise CheckpointError(f"{directory}: {error.strerror}") from error
    others = sorted(names - {CONFIG, META, VOCABULARY, WEIGHTS})
    if others:
        raise CheckpointError(
            f"{directory}: a checkpoint would replace all that is there, {others[0]} among it: "
            "name another directory"
        )


def _written(config: CheckpointConfig) -> str:
    """JSON; nothing of a matcher where there is none, which readers of before have no name for."""
    absent = {"model": {"matcher"}} if config.model.matcher is None else None
    return config.model_dump_json(indent=2, exclude=absent)


def checkpoint_directory(directory: Path) -> Path:
    """The directory itself or, where it is the folder of a training run, its best checkpoint.

    Raises:
        CheckpointError: there is no such directory.
    """
    best = directory / BEST
    for place in (directory, best):
        _put_back(place)
    if not os.path.isdir(directory):  # unlike Path's, it says no where looking is forbidden
        raise CheckpointError(f"{directory}: no such checkpoint directory")
    is_run = os.path.isdir(best) and not os.path.lexists(directory / CONFIG)
    return best if is_run else directory


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU in float32, in evaluation mode, everything cross-checked.

    Args:
        directory: a checkpoint, or the folder of a training run, of which the best is read.

    Raises:
        CheckpointError: names the file and what does not fit.
    """
    directory = checkpoint_directory(directory)
    config = _read(directory / CONFIG, CheckpointConfig)
    meta = _read(directory / META, CheckpointMeta)
    vocabulary = Vocabulary.load(directory / VOCABULARY)
    if len(vocabulary) != config.model.vocab_size:
        raise CheckpointError(
            f"{directory / VOCABULARY} has {len(vocabulary)} entries, "
            f"{CONFIG} says model.vocab_size {config.model.vocab_size}"
        )
    with _Unstarted():
        model = build_model(config.model)
    _fill(model, directory / WEIGHTS)
    return Checkpoint(
        model=model.eval(), vocabulary=vocabulary, sampling=config.sampling, meta=meta
    )


class DirectoryReplacement(contextlib.AbstractContextManager[Path]):
    """A sibling to write into, that takes the place of ``directory`` when the block ends well.

    Every file is flushed to disk before the move, so a kill or a full disk at any moment leaves
    the old directory or the new one.

    Raises:
        CheckpointError: nothing could be written there, or the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        """Name the place; nothing is touched yet."""
        self.directory = directory
        self.aside = directory.with_name(f".{directory.name}.writing-{os.getpid()}")
        self.old = directory.with_name(f".{directory.name}.replaced-{os.getpid()}")

    def __enter__(self) -> Path:
        """An empty directory beside the place."""
        try:
            if self.directory.exists() and not self.directory.is_dir():
                raise NotADirectoryError(f"{self.directory.name} is not a directory")
            shutil.rmtree(self.aside, ignore_errors=True)
            self.aside.mkdir(parents=True)
        except OSError as error:
            raise self._refusal(error) from error
        return self.aside

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Put the new directory in place, or leave no trace of it."""
        try:
            if error is None:
                self._swap()
        except OSError as failure:
            raise self._refusal(failure) from failure
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
        if isinstance(error, OSError):
            raise self._refusal(error) from error

    def _swap(self) -> None:
        for path in (*self.aside.iterdir(), self.aside):
            _flush(path)
        if not self.directory.exists():
            self.aside.rename(self.directory)
        elif not _exchange(self.aside, self.directory):
            self._replace_in_two_steps()
        _flush(self.directory.parent)

    def _replace_in_two_steps(self) -> None:
        """Where two directories cannot change places at once: the old one steps aside first.

        ``_put_back`` undoes that step should the process die before the next.
        """
        shutil.rmtree(self.old, ignore_errors=True)
        self.directory.rename(self.old)
        try:
            self.aside.rename(self.directory)
        except OSError:
            self.old.rename(self.directory)
            raise
        shutil.rmtree(self.old, ignore_errors=True)

    def _refusal(self, error: OSError) -> CheckpointError:
        reason = error.strerror or error
        return CheckpointError(f"{self.directory}: cannot write the checkpoint: {reason}")


def recovered(directory: Path) -> Path:
    """``directory``, put back first if a process died while replacing it.

    What dead writers left beside it is removed.
    """
    _put_back(directory)
    for kind in ("writing", "replaced"):
        for leftover in _leftovers(directory, kind):
            shutil.rmtree(leftover, ignore_errors=True)
    return directory


def _put_back(directory: Path) -> None:
    """Return the old directory to its place, if its writer died between two renames."""
    if os.path.lexists(directory):
        return
    for old in _leftovers(directory, "replaced"):
        with contextlib.suppress(OSError):  # read-only, or another process was faster
            old.rename(directory)


def _leftovers(directory: Path, kind: str) -> list[Path]:
    """Directories beside this one that processes began to write or replace, and died."""
    found = directory.parent.glob(f".{glob.escape(directory.name)}.{kind}-*")
    return [path for path in found if not _is_another_running(path.name.rpartition("-")[2])]


def _is_another_running(process: str) -> bool:
    """Whether a process other than this one has that number."""
    if not process.isdecimal() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Let two directories change places in one step; False where the system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    here = _AT_WORKING_DIRECTORY
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE) == 0)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, kind: type[_Document]) -> _Document:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error


def _stored_weights(model: LatentSeq2Seq, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Every parameter once: a tied one under its first name alone."""
    return {
        name: value.detach().to("cpu", dtype or value.dtype).contiguous()
        for name, value in model.named_parameters()
    }


_DRAWING = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, Tensor.uniform_)


class _Unstarted(TorchFunctionMode):
    """Leaves parameters as memory has them: drawing numbers takes longer than reading a model."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _fill(model: LatentSeq2Seq, path: Path) -> None:
    """Copy stored weights into the model, refusing any that are missing, foreign or misshapen."""
    try:
        stored = safetensors.load(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: {error}") from error
    wanted = dict(model.named_parameters())
    misfits = [f"{name} is missing" for name in wanted.keys() - stored.keys()]
    misfits += [f"{name} is unknown to this model" for name in stored.keys() - wanted.keys()]
    misfits += [
        f"{name} is {tuple(stored[name].shape)}, {CONFIG} says {tuple(wanted[name].shape)}"
        for name in wanted.keys() & stored.keys()
        if stored[name].shape != wanted[name].shape
    ]
    if misfits:
        raise CheckpointError(f"{path}: {'; '.join(sorted(misfits)[:5])}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored[name])
            if not bool(torch.isfinite(parameter).all()):
                raise CheckpointError(f"{path}: {name} holds values that are not finite")
