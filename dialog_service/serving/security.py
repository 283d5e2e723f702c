"""Who may call, over what, and how often: certificates and bearer tokens. Knows no grpc."""

import hashlib
import hmac
import logging
import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dialog_service.errors import ConfigError, Unauthenticated
from dialog_service.serving.rate_limit import RateLimit
from dialog_service.serving.settings import Settings
from dialog_service.serving.watched_file import WatchedFile, file_stamp

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
_BEARER = re.compile(r"bearer +(.+)", re.IGNORECASE)
_log = logging.getLogger(__name__)
_HOW = "send the metadata 'authorization: Bearer TOKEN'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """PEM; where there is a ``client_ca``, a client must show a certificate that it signed."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


class Call(Protocol):
    """What a call tells of who makes it."""

    def invocation_metadata(self) -> Any:
        """Pairs of key and value, or None."""

    def peer(self) -> str:
        """The address that the call comes from, with its port."""

    def peer_identities(self) -> Iterable[bytes] | None:
        """The names in a verified client certificate."""


def read_certificate(settings: Settings) -> ServerCertificate | None:
    """The files that the settings name; None where they name none.

    Raises:
        ConfigError: one cannot be read, or they do not fit together.
    """
    certificate, key, client_ca = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    if not (certificate and key):
        return None
    found = ServerCertificate(
        certificate=_read(certificate),
        key=_read(key),
        client_ca=_read(client_ca) if client_ca else None,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # "": asks nobody for one
    except (ssl.SSLError, ValueError) as error:
        reason = "not a PEM certificate and its unencrypted key"
        raise ConfigError(f"{certificate}, {key}: {reason} ({error})") from error
    if client_ca:
        _check_authority(context, client_ca)
    return found


class CertificateFiles:
    """The files of a certificate, which may be replaced while the server runs."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._stamps: list[tuple[int, ...]] = []

    def read(self) -> ServerCertificate | None:
        """As ``read_certificate``."""
        self._stamps = self._look()
        return read_certificate(self._settings)

    def renewed(self) -> ServerCertificate | None:
        """A certificate to use from now on; None where the files are the same or cannot be used.

        Of the latter kind are those of which only one was replaced so far.
        """
        if self._look() == self._stamps:
            return None
        try:
            found = self.read()
        except ConfigError as error:  # complained of once
            _log.error("the certificate before it goes on: %s", error)
            return None
        _log.info("read again: %s", self._settings.tls_cert)
        return found

    def _look(self) -> list[tuple[int, ...]]:
        chosen = self._settings
        paths = (chosen.tls_cert, chosen.tls_key, chosen.tls_client_ca)
        return [file_stamp(path) for path in paths if path]


def bearer_tokens(text: str) -> tuple[str, ...]:
    """The tokens in a file: one a line; empty lines and those that begin with # are none.

    Raises:
        ValueError: a line cannot be a token; says which line, not what it holds.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    tokens = [(number, line) for number, line in lines if line and not line.startswith("#")]
    for number, token in tokens:
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"line {number} is no bearer token: letters, digits, - . _ ~ + / =")
    return tuple(token for _, token in tokens)


class Callers:
    """Tells callers apart; where there is a file of tokens, keeps others out."""

    def __init__(self, tokens_file: Path | None, rate_limit: RateLimit) -> None:
        """With the tokens of a file; as the file changes, so do they.

        Raises:
            ConfigError: the file cannot be read, holds no token, or something else.
        """
        self._rate_limit = rate_limit
        self._digests = WatchedFile(tokens_file, _digests) if tokens_file else None
        if self._digests and not self._digests.current():
            raise ConfigError(f"{tokens_file}: no token in it, so nobody could call")

    def admit(self, call: Call, requests: int) -> None:
        """Let a call pass that holds so many requests.

        Raises:
            Unauthenticated: as ``identify``.
            Overloaded: the caller asks too often.
        """
        self._rate_limit.take(self.identify(call), requests)

    def identify(self, call: Call) -> str:
        """A name for who calls: by token, else by client certificate, else by address.

        Raises:
            Unauthenticated: a token is wanted, and there is none or none that is known.
        """
        if self._digests:
            return _holder(_shown_tokens(call), self._digests.current())
        if names := call.peer_identities():
            return "certificate " + ", ".join(name.decode(errors="replace") for name in names)
        return "address " + call.peer().rpartition(":")[0]


def _holder(shown: Sequence[str], known: Sequence[bytes]) -> str:
    """A name for the holder of a token, in a time that tells nothing of the known ones."""
    if not shown:
        raise Unauthenticated(f"this server asks for a token: {_HOW}")
    digests = [_digest(token) for token in shown]
    for digest in digests:
        if any([hmac.compare_digest(digest, each) for each in known]):  # a list: all of them
            return "token " + digest.hex()
    raise Unauthenticated(f"this server does not know the token: {_HOW}, with one that it knows")


def _shown_tokens(call: Call) -> list[str]:
    """The bearer tokens in the metadata of a call."""
    values = [v for key, v in call.invocation_metadata() or () if key == "authorization"]
    found = [_BEARER.fullmatch(value.strip()) for value in values if isinstance(value, str)]
    return [match[1] for match in found if match]


def _digests(text: str) -> tuple[bytes, ...]:
    """Of the tokens in a file; of one length, so that comparing does not tell a token's."""
    return tuple(map(_digest, bearer_tokens(text)))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _check_authority(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{path}: not a PEM certificate ({error})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
