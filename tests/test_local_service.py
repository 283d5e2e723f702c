"""A service in a process of its own, from Python."""

from pathlib import Path

import pytest

from dialog_service.client import DialogClient
from dialog_service.local_service import ServiceEnded, local_service

FLAGS = ("--metrics-address", "off", "--redis-url", "off", "--log-level", "warning")


def test_it_answers_inside_the_block_and_is_gone_after_it(tiny_checkpoint: Path):
    flags = ("--model", str(tiny_checkpoint), *FLAGS)
    with local_service(*flags) as address, DialogClient(address) as client:
        assert len(client.ask("The soup was cold.", reply_count=3).replies) == 3
    with DialogClient(address, timeout_seconds=0.5) as client:
        assert not client.is_ready()


def test_a_service_that_does_not_start_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    missing = str(tmp_path / "missing")
    with pytest.raises(ServiceEnded), local_service("--model", missing, *FLAGS):
        pass
    assert missing in capfd.readouterr().err


def test_an_error_inside_the_block_ends_the_service(tiny_checkpoint: Path):
    flags = ("--model", str(tiny_checkpoint), *FLAGS)
    with pytest.raises(KeyError), local_service(*flags) as address:
        raise KeyError
    with DialogClient(address, timeout_seconds=0.5) as client:
        assert not client.is_ready()
