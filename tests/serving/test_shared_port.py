"""A port that is kept for several processes, and from everybody else."""

import contextlib
import socket

import pytest

from dialog_service.errors import ConfigError
from dialog_service.serving.shared_port import reserved


def listening(port: int, *options: int) -> socket.socket:
    found = socket.socket()
    for option in options:
        found.setsockopt(socket.SOL_SOCKET, option, 1)
    found.bind(("127.0.0.1", port))
    found.listen()
    return found


def test_those_who_share_listen_there_and_get_every_connection():
    with reserved("127.0.0.1:0") as address, contextlib.ExitStack() as stack:
        port = int(address.removeprefix("127.0.0.1:"))
        sharing = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        listeners = [stack.enter_context(listening(port, *sharing)) for _ in range(2)]
        for _ in range(16):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        accepted = [0, 0]
        for number, listener in enumerate(listeners):
            listener.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    stack.enter_context(listener.accept()[0])
                    accepted[number] += 1
    assert sum(accepted) == 16
    assert min(accepted) > 0  # but for one run in 30,000


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0"])
def test_nobody_else_gets_the_port_nor_keeps_it_too(address: str):
    with reserved(address) as kept:
        assert kept != address
        with pytest.raises(ConfigError, match="has another server that port"), reserved(kept):
            pass
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", int(kept.rpartition(":")[2])))
    with reserved(kept):
        pass


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,)])
def test_a_port_that_another_server_has_is_not_shared_with_it(options: tuple[int, ...]):
    with listening(0, *options) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen on {taken}"), reserved(taken):
            pass


def test_what_is_left_of_connections_of_an_earlier_server_is_in_nobodys_way():
    with listening(0, socket.SO_REUSEADDR) as earlier:
        port = earlier.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            earlier.accept()[0].close()  # first, so it is the server's end that waits
            assert client.recv(1) == b""
    with reserved(f"127.0.0.1:{port}") as kept:
        assert kept == f"127.0.0.1:{port}"


@pytest.mark.parametrize("address", ["unix:/tmp/dialog:0", "nowhere.invalid:0", "ö" * 70 + ":0"])
def test_what_is_no_port_of_this_machine_is_refused(address: str):
    with pytest.raises(ConfigError, match=f"on {address}: no such host"), reserved(address):
        pass
    with pytest.raises(ConfigError, match="no such address here"), reserved("192.0.2.1:0"):
        pass


def test_where_the_system_lets_nobody_share_the_setting_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(ConfigError, match="--processes"), reserved("127.0.0.1:0"):
        pass
