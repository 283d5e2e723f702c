"""A port that several processes of one service listen on, and nobody else."""

import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence

from dialog_service.errors import ConfigError

_Place = tuple[socket.AddressFamily, tuple[object, ...]]


@contextlib.contextmanager
def reserved(address: str) -> Iterator[str]:
    """Keep a port while the block runs, for processes that listen there with SO_REUSEPORT.

    It is bound and never listened on, so the kernel gives it no connections.

    Args:
        address: HOST:PORT; port 0 is any, the same one for all addresses that the host has.

    Yields:
        The address, with the port that it is.

    Raises:
        ConfigError: another server has that port, or it cannot be shared here.
    """
    host, _, port = address.rpartition(":")
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("DIALOG_PROCESSES (--processes): this system lets none share a port")
    with contextlib.ExitStack() as kept:
        number = int(port)
        for family, place in _places(address):
            try:
                found = kept.enter_context(_taken(family, (place[0], number, *place[2:])))
            except OSError as error:
                raise _refusal(address, error) from error
            number = found.getsockname()[1]
        yield f"{host}:{number}"


def refusal(address: str) -> ConfigError:
    """Why nothing can listen on HOST:PORT, when that is all that is known."""
    try:
        _places(address)
    except ConfigError as error:
        return error
    return ConfigError(f"cannot listen on {address}; has another server that port?")


def _places(address: str) -> Sequence[_Place]:
    """Where to bind for an address, those of families that this machine does not speak left out.

    Raises:
        ConfigError: nowhere.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {address}: no such host is known here") from error
    places = dict.fromkeys((family, place) for family, *_, place in found)
    if here := [each for each in places if _is_here(*each)]:
        return here
    raise ConfigError(f"cannot listen on {address}: no such address here")


def _is_here(family: socket.AddressFamily, place: tuple[object, ...]) -> bool:
    """Whether this machine has an address."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((place[0], 0, *place[2:]))
    except OSError:
        return False
    return True


def _taken(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
    """A socket there, if nobody has one, nor keeps one as this does."""
    _bound(family, place, socket.SO_REUSEADDR).close()  # what a server asks that shares nothing
    try:
        return _bound(family, place, socket.SO_REUSEPORT)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    # Connections of an earlier server still wait for their last packets.
    return _bound(family, place, socket.SO_REUSEPORT, socket.SO_REUSEADDR)


def _bound(family: socket.AddressFamily, place: tuple[object, ...], *options: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(place)
    except OSError:
        bound.close()
        raise
    return bound


def _refusal(address: str, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return refusal(address)
    return ConfigError(f"cannot listen on {address}: {error.strerror}")
