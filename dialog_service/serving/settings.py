"""Settings of the server: ``DIALOG_*`` environment variables, flags of the same names, or a file.

A flag wins over the environment, the environment over the file. Units are in the names. A name that
is nearly one of these stops the start, since a server that ignores what it is told is worse than
none. ``DIALOG_CALL_*`` are for the commands that call a server, and none of its business.
"""

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dialog_service.errors import ConfigError

PREFIX = "DIALOG_"
CALL_PREFIX = f"{PREFIX}CALL_"  # the environment of commands that call a server
MAX_REPLIES = 32  # of one request, by the API
_MOST_PORT = 65535
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) <= _MOST_PORT):
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:50051")
    return value


def _address_or_off(value: str) -> str:
    return value if value == "off" else _address(value)


def _port(address: str) -> int:
    """Of an address; 0 where it is off, or any port will do."""
    return 0 if address == "off" else int(address.rpartition(":")[2])


def _redis(value: str) -> str:
    if value not in ("embedded", "off") and not value.startswith(_REDIS_SCHEMES):
        raise ValueError(f"must be embedded, off, or begin with {', '.join(_REDIS_SCHEMES)}")
    return value


def _url(value: str | None) -> str | None:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
    return value


class Settings(BaseSettings):
    """Every setting; its description is the help of its flag."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, env_ignore_empty=True, extra="ignore"
    )

    model: Path | None = Field(
        default=None, description="Serve the checkpoint in this directory and no other."
    )
    models: Path | None = Field(
        default=None,
        description="Serve every checkpoint below this directory, laid out as NAME/VERSION/. "
        "Default: the model that comes with the package.",
    )
    models_poll_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Look this often for checkpoints that are new, changed or removed, and take "
        "them in once they look the same twice; 0: on SIGHUP only.",
    )
    grpc_address: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:50051",
        description="Where the API listens; 0.0.0.0:50051: to every network, port 0: a free one.",
    )
    metrics_address: Annotated[str, AfterValidator(_address_or_off)] = Field(
        default="127.0.0.1:9095", description="Where Prometheus finds /metrics, or off."
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="So many that answer at grpc_address, each a replica with its share of the "
        "cores; figures on as many ports, from that of metrics_address on.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, ...")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto",
        description="Of a decode step's products: auto is int8 on an x86 CPU, else bf16 where it "
        "is native, else fp32.",
    )
    max_batch_sequences: int = Field(
        default=128, ge=1, le=4096, description="Most sequences (replies asked for) in a batch."
    )
    max_wait_seconds: float = Field(
        default=0.005,
        ge=0,
        le=10,
        description="Longest wait of a batch's first request for others to begin with it.",
    )
    queue_capacity_sequences: int = Field(
        default=1024, ge=1, description="Sequences that may wait; beyond, requests are refused."
    )
    max_replies: int = Field(
        default=MAX_REPLIES, ge=1, le=MAX_REPLIES, description="Largest reply_count of a request."
    )
    max_candidates: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Largest candidate_count of a request; never more than may wait.",
    )
    selection: Literal["none", "mmr"] = Field(
        default="none",
        description="How replies are chosen where a request does not say: none: as they are "
        "drawn; mmr: those of 32 candidates that fit and differ, for up to six times the work.",
    )
    max_input_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Cut dialogs from the left to so many tokens, where the model could use more "
        "(context_tokens in GetModel).",
    )
    default_deadline_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="Deadline of requests that come without one."
    )
    redis_url: Annotated[str, AfterValidator(_redis)] = Field(
        default="embedded",
        description="redis://, rediss:// or unix://, shared by all replicas; embedded: a private "
        "server started for this service; off: no cache.",
    )
    cache_ttl_seconds: float = Field(
        default=3600.0,
        gt=0,
        le=365 * 86_400,
        description="Life of a pool of candidates, give or take a tenth.",
    )
    cache_pool_size: int = Field(
        default=64, ge=1, le=1024, description="Candidates that a pool grows to."
    )
    cache_timeout_seconds: float = Field(
        default=0.02,
        gt=0,
        le=10,
        description="Longest wait for Redis; then the request does without.",
    )
    blocked_phrases_file: Path | None = Field(
        default=None,
        description="Return no reply that holds a phrase of this file, one a line, whole words in "
        "any case, but draw again; read again when it changes.",
    )
    diversity_window_tokens: int = Field(
        default=100_000, ge=1, description="Words in the window of the live Dist-1 and Dist-2."
    )
    drain_delay_seconds: float = Field(
        default=5.0,
        ge=0,
        le=600,
        description="After SIGTERM, keep serving this long while load balancers look elsewhere.",
    )
    drain_grace_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="Then let requests under way finish this long."
    )
    max_connection_age_seconds: float = Field(
        default=600.0,
        gt=0,
        le=2_000_000,
        description="Connections are renewed after this, to rebalance load.",
    )
    max_concurrent_streams: int = Field(
        default=1000,
        ge=1,
        le=2**31 - 1,
        description="Calls under way on one connection, health checks among them; a client keeps "
        "further ones back until one has ended.",
    )
    max_message_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=2**30, description="Largest request."
    )
    tls_cert: Path | None = Field(
        default=None,
        description="Speak TLS with the certificate (PEM, with its chain) in this file; read "
        "again, as the two below, when it changes.",
    )
    tls_key: Path | None = Field(
        default=None, description="The certificate's key, PEM, not encrypted."
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description="Take connections only from clients with a certificate signed by an authority "
        "in this file, health checks too.",
    )
    auth_tokens_file: Path | None = Field(
        default=None,
        description="Answer only calls with a bearer token that is a line of this file, which is "
        "read again when it changes; health checks and reflection need none.",
    )
    rate_limit_rps: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Requests a second of one caller, told by token, client certificate or "
        "address, and a second's worth of them at once; beyond, calls are refused.",
    )
    reflection: bool = Field(
        default=True, description="Tell clients such as grpcurl what the API is."
    )
    otlp_endpoint: Annotated[str | None, AfterValidator(_url)] = Field(
        default=None,
        description="Send a trace of every call to the OpenTelemetry collector at this "
        "http://HOST:PORT or https://HOST:PORT, over gRPC; needs the extra [otel]. "
        "Default: where the OTEL_EXPORTER_OTLP_* variables say, else nowhere.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="console or json."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.model and self.models:
            raise ValueError("model and models exclude each other")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        if self.queue_capacity_sequences < self.max_replies:
            raise ValueError("queue_capacity_sequences must be at least max_replies")
        if self.max_candidates < self.max_replies:
            raise ValueError("max_candidates must be at least max_replies")
        if _port(self.metrics_address) + self.processes - 1 > _MOST_PORT:
            raise ValueError("metrics_address leaves too few ports for so many processes")
        return self

    def metrics_address_of(self, number: int) -> str:
        """Where one of the processes shows its figures."""
        host, _, port = self.metrics_address.rpartition(":")
        return f"{host}:{int(port) + number}" if _port(port) else self.metrics_address


def load_settings(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """Settings from flags, the environment and a file of ``DIALOG_NAME=value`` lines.

    Raises:
        ConfigError: a value that cannot be, a name that is nearly a setting's, or a file that
            cannot be read.
    """
    if file and not file.is_file():
        raise ConfigError(f"{file}: no such file of settings")
    unknown_names(file)  # a near miss of a name ends the start
    make: Callable[..., Settings] = Settings  # has arguments that are no fields
    try:
        return make(_env_file=file, **flags)
    except ValidationError as error:
        raise ConfigError("; ".join(_line(e["loc"], e["msg"]) for e in error.errors())) from error


def unknown_names(file: Path | None = None) -> list[str]:
    """As ``check_names``, of the environment and a file of settings."""
    names = [*os.environ, *(dotenv_values(file) if file else ())]
    return check_names(name.upper() for name in names)


def check_names(names: Iterable[str]) -> list[str]:
    """Names with our prefix that are no setting's; Kubernetes puts some of those there.

    Raises:
        ConfigError: one is nearly a setting's name.
    """
    known = [name.upper() for name in Settings.model_fields]
    ours = [name for name in names if name.startswith(PREFIX)]
    asked = [name.removeprefix(PREFIX) for name in ours if not name.startswith(CALL_PREFIX)]
    unknown = [name for name in asked if name not in known]
    for name in unknown:
        near = _nearest(name, known)
        if near:
            raise ConfigError(f"{PREFIX}{name} is no setting; is it {PREFIX}{near}?")
    return [PREFIX + name for name in unknown]


def flag(name: str) -> str:
    """The flag of a setting: "max_wait_seconds" -> "--max-wait-seconds"."""
    return "--" + name.replace("_", "-")


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The name that was meant: one with a unit, or another unit, or one of similar spelling."""
    stem = name.rpartition("_")[0]
    stems = (f"{name}_", f"{stem}_") if "_" in stem else (f"{name}_",)
    longer = [each for each in known if each.startswith(stems)]
    return next(iter(longer or difflib.get_close_matches(name, known, n=1, cutoff=0.75)), None)


def _line(location: tuple[int | str, ...], message: str) -> str:
    """One error for a person: which setting, under both of its names, and what is wrong."""
    reason = message.removeprefix("Value error, ")
    if not location:
        return reason
    name = str(location[0])
    return f"{PREFIX}{name.upper()} ({flag(name)}): {reason}"
