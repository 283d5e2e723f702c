"""What a server begins with, loaded while the rest of it is still being imported.

So this imports what loading takes and no more: neither grpc nor redis.
"""

import contextlib
from concurrent.futures import Future

from dialog_service.errors import UserError
from dialog_service.serving.checkpoint_places import (
    Location,
    Stamp,
    load_model,
    loading_thread,
    locations,
)
from dialog_service.serving.registry import LoadedModel
from dialog_service.serving.settings import Settings


class EarlyLoad:
    """Loads models as ``load_model`` does; has begun with those that are there now."""

    def __init__(self, settings: Settings) -> None:
        """Begin. What is wrong with them is told when they are asked for."""
        self._begun: dict[Location, Future[tuple[Stamp, LoadedModel]]] = {}
        thread = loading_thread()
        with contextlib.suppress(UserError):
            for location in locations(settings):
                self._begun[location] = thread.submit(_loaded, location, settings)
        thread.shutdown(wait=False)

    def __call__(self, location: Location, settings: Settings) -> LoadedModel:
        """The model, loaded now where it was not or where its files have changed since.

        Raises:
            CheckpointError, ConfigError: as ``load_model``.
        """
        begun = self._begun.pop(location, None)
        if begun and not begun.exception():
            stamp, loaded = begun.result()
            if stamp == location.stamp():
                return loaded
        return load_model(location, settings)


def _loaded(location: Location, settings: Settings) -> tuple[Stamp, LoadedModel]:
    return location.stamp(), load_model(location, settings)
