"""The flags that several commands share, as dataclasses whose fields are flags."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from dialog_service.client import DEFAULT_TARGET, AsyncDialogClient, DialogClient, Tls
from dialog_service.errors import ConfigError
from dialog_service.serving.security import bearer_tokens
from dialog_service.serving.settings import CALL_PREFIX


@dataclass(frozen=True, kw_only=True)
class ServiceFlags:
    """Which service a command calls, and how: the flags that say so."""

    target: Annotated[
        str, typer.Option(envvar=f"{CALL_PREFIX}TARGET", help="HOST:PORT of the service.")
    ] = DEFAULT_TARGET
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            envvar=f"{CALL_PREFIX}TLS",
            help="Speak TLS, which every other --tls flag says too.",
        ),
    ] = False
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            envvar=f"{CALL_PREFIX}TLS_CA",
            help="Trust the authorities in this file (PEM), and no others.",
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        typer.Option(envvar=f"{CALL_PREFIX}TLS_CERT", help="Show this certificate (PEM)."),
    ] = None
    tls_key: Annotated[
        Path | None, typer.Option(envvar=f"{CALL_PREFIX}TLS_KEY", help="Its key (PEM).")
    ] = None
    tls_server_name: Annotated[
        str,
        typer.Option(
            envvar=f"{CALL_PREFIX}TLS_SERVER_NAME",
            help="What the service's certificate is for, where the target says otherwise.",
        ),
    ] = ""
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar=f"{CALL_PREFIX}TOKEN_FILE", help="Show the first bearer token in this file."
        ),
    ] = None

    def client(self) -> DialogClient:
        """A client of that service."""
        return DialogClient(self.target, tls=self._tls(), token=self._token())

    def plain_client(self, timeout_seconds: float) -> AsyncDialogClient:
        """One for asyncio that tries nothing twice."""
        return AsyncDialogClient(
            self.target,
            timeout_seconds=timeout_seconds,
            tls=self._tls(),
            token=self._token(),
            is_plain=True,
        )

    def _tls(self) -> Tls | None:
        named = Tls(
            ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key, server_name=self.tls_server_name
        )
        return named if self.tls or named != Tls() else None

    def _token(self) -> str:
        return _first_token(self.token_file) if self.token_file else ""


def with_flags(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command, for each group, an argument of that type made from its fields' flags.

    The groups are the types of its first parameters; each further parameter is a flag of its own.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        named = [inspect.signature(group, eval_str=True).parameters for group in groups]

        @functools.wraps(command)
        def called(**flags: Any) -> None:
            made = [
                group(**{name: flags.pop(name) for name in names})
                for group, names in zip(groups, named, strict=True)
            ]
            command(*made, **flags)

        own = inspect.signature(command, eval_str=True)
        rest = list(own.parameters.values())[len(groups) :]
        every = [*rest, *(each for names in named for each in names.values())]
        kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in every]
        called.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
        return called

    return decorated


def calling(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a client, and the flags that say of which service."""

    @functools.wraps(command)
    def called(service: ServiceFlags, **flags: Any) -> None:
        with service.client() as client:
            command(client, **flags)

    return with_flags(ServiceFlags)(called)


def _first_token(path: Path) -> str:
    """The first token in a file."""
    try:
        tokens = bearer_tokens(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not tokens:
        raise ConfigError(f"{path}: no token in it")
    return tokens[0]
