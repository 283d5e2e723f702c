"""What tests of the server need: a real Redis process, and candidates."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis_process import RedisProcess

from dialog_service.generation import Candidate, FinishReason


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is slow on a busy machine is there all the same."""
    monkeypatch.setattr("dialog_service.serving.cache._CONNECT_SECONDS", 60.0)
    monkeypatch.setattr("dialog_service.serving.embedded_redis._START_SECONDS", 60.0)
    monkeypatch.setattr("dialog_service.serving.live_diversity._TIMEOUT_SECONDS", 60.0)


@pytest.fixture
def redis_server() -> Iterator[RedisProcess]:
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:  # short: it holds a socket
        server = RedisProcess(Path(directory))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def candidates() -> Callable[..., list[Candidate]]:
    """``candidates(count, prefix="reply")``: different texts, always the same ones."""

    def make(count: int, prefix: str = "reply") -> list[Candidate]:
        return [
            Candidate(
                text=f"{prefix} {number}",
                log_prob_nats=-1.5 * number,
                token_count=number + 1,
                finish_reason=FinishReason.END,
            )
            for number in range(count)
        ]

    return make
