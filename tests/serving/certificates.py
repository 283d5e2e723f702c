"""Authorities and certificates made on the spot, with the openssl command."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from dialog_service.client import Tls


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    cert: Path
    key: Path


def make_pair(directory: Path, name: str, *more: str | Path) -> Pair:
    """A self-signed certificate for ``name``, or what ``more`` makes of it."""
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("no openssl command here: apt-get install openssl")
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2")
    command = (program, "req", "-x509", *kind, "-subj", f"/CN={name}", *more)
    files = ("-keyout", pair.key, "-out", pair.cert)
    subprocess.run((*command, *files), check=True, capture_output=True)
    return pair


class Certificates:
    """An authority, and what it has signed: a server's for 127.0.0.1 and a client's."""

    def __init__(self, directory: Path) -> None:
        """Make all of it, and ``stranger``, which nobody has signed."""
        authority = make_pair(directory, "authority")
        signed = ("-CA", authority.cert, "-CAkey", authority.key)
        here = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE")
        self.ca = authority.cert
        self.server = make_pair(directory, "server", *signed, *here)
        elsewhere = ("-addext", "subjectAltName=DNS:dialog.example")
        self.elsewhere = make_pair(directory, "elsewhere", *signed, *elsewhere)
        self.client = make_pair(directory, "client", *signed)
        self.stranger = make_pair(directory, "stranger")

    @property
    def settings(self) -> dict[str, Path]:
        """Of a server that speaks TLS."""
        return {"tls_cert": self.server.cert, "tls_key": self.server.key}

    @property
    def mutual(self) -> dict[str, Path]:
        """Of one that asks clients for a certificate, too."""
        return {**self.settings, "tls_client_ca": self.ca}

    def tls(self, own: Pair | None = None) -> Tls:
        """A client's part, with a certificate of its own if one is given."""
        return Tls(ca=self.ca, cert=own and own.cert, key=own and own.key)
