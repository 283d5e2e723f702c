"""Keeps what is served in step with the checkpoints on disk: they come, change and go.

A checkpoint is loaded and warmed up beside the others, off the event loop, and served only when it
is ready. One that cannot be used changes nothing: that is said and counted, once, and it is tried
again when it has changed. What nobody asked for must look the same twice in a row, so that a
directory which is still being copied is left alone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from dialog_service.errors import CheckpointError, UserError
from dialog_service.serving.checkpoint_places import Location, Stamp, loading_thread, locations
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.model_host import ModelHost
from dialog_service.serving.registry import LoadedModel, ModelRegistry, ServedModel
from dialog_service.serving.settings import Settings

ModelLoader = Callable[[Location, Settings], LoadedModel]

_GONE: Stamp = ()
_log = logging.getLogger(__name__)


class ModelWatch:
    """Looks at the disk at the start, every so often, and when it is asked to."""

    def __init__(
        self,
        settings: Settings,
        load: ModelLoader,
        host: ModelHost,
        registry: ModelRegistry,
        metrics: Metrics,
    ) -> None:
        """Nothing is loaded before ``start``."""
        self._settings = settings
        self._load = load
        self._host = host
        self._registry = registry
        self._metrics = metrics
        self._served: dict[Location, ServedModel] = {}
        self._tried: dict[Location, Stamp] = {}
        self._refused: set[Location] = set()  # could not be used when they were last tried
        self._seen: dict[Location, Stamp] = {}
        self._trouble = ""
        self._asked = asyncio.Event()
        # Always the same thread: what one frees, another would not use again.
        self._thread = loading_thread()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load every checkpoint, and watch them from then on.

        Raises:
            UserError: there are none, or of one model no version can be used.
        """
        found = await self._find()
        refused = {place: await self._take(place, stamp) for place, stamp in found.items()}
        names = {location.name for location in self._served}
        for location, error in refused.items():
            if error and location.name not in names:
                raise error
        for error in filter(None, refused.values()):
            _tell(error)
        self._seen = found
        self._watching = asyncio.create_task(self._watch(), name="model watch")

    def reload(self) -> None:
        """Look at once, and try again what could not be used."""
        self._asked.set()

    async def stop(self) -> None:
        """Leave everything as it is; may be called twice."""
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while True:
            is_asked = await self._wait()
            try:
                await self._look(is_asked=is_asked)
            except Exception:  # or nothing would be looked at any more
                _log.exception("the checkpoints cannot be looked at")

    async def _look(self, *, is_asked: bool) -> None:
        try:
            found = await self._find()
        except UserError as error:
            self._complain(str(error), is_asked=is_asked)
            return
        self._trouble = ""
        await self._follow(found, is_asked=is_asked)

    async def _wait(self) -> bool:
        """Until it is time to look; whether somebody asks for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.models_poll_seconds or None):
                await self._asked.wait()
        is_asked = self._asked.is_set()
        self._asked.clear()
        return is_asked

    async def _find(self) -> dict[Location, Stamp]:
        """The checkpoints on disk, and their state."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _stamps, self._settings)

    async def _follow(self, found: dict[Location, Stamp], *, is_asked: bool) -> None:
        """Take in what has changed, then let go what is no longer there."""
        seen, self._seen = self._seen, found

        def is_news(location: Location, stamp: Stamp) -> bool:
            if is_asked:
                return location in self._refused or self._tried.get(location) != stamp
            return seen.get(location) == stamp != self._tried.get(location)

        for location, stamp in found.items():
            if is_news(location, stamp) and (error := await self._take(location, stamp)):
                _tell(error)
        for location in [each for each in self._served if each not in found]:
            if is_asked or location not in seen:
                self._let_go(location)
        if is_asked:
            _log.info("looked at %d checkpoints; serving %d", len(found), len(self._served))

    async def _take(self, location: Location, stamp: Stamp) -> UserError | None:
        """Serve a checkpoint in the state it is in, or say why it cannot be served."""
        self._tried[location] = stamp
        try:
            loop = asyncio.get_running_loop()
            loaded = await loop.run_in_executor(self._thread, self._loaded, location, stamp)
        except UserError as error:
            self._metrics.model_loads.labels("failed").inc()
            self._refused.add(location)
            return error
        self._refused.discard(location)
        old = self._served.get(location)
        if not (old and _is_same(old.loaded, loaded)):
            self._served[location] = await self._host.serve(loaded, instead_of=old)
            how = loaded.generator.arithmetic, loaded.generator.device
            _log.info("serving %s: %s products on %s", loaded.version_name, *how)
        self._metrics.model_loads.labels("ok").inc()
        return None

    def _loaded(self, location: Location, stamp: Stamp) -> LoadedModel:
        """In a thread: the model, whole and of one state of its files."""
        try:
            loaded = self._load(location, self._settings)
        except UserError:
            raise
        except Exception as error:  # whatever a foreign file or a full device may lead to
            _log.debug("while loading %s", location.directory, exc_info=True)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise CheckpointError(f"{location.directory}: {reason}") from error
        if location.stamp() != stamp:
            raise CheckpointError(f"{location.directory}: was changed while it was read")
        return loaded

    def _let_go(self, location: Location) -> None:
        model = self._served[location]
        if not self._registry.is_last_of_default(model):
            del self._served[location], self._tried[location]
            self._host.retire(model)
        elif self._tried[location] != _GONE:
            self._tried[location] = _GONE
            name = model.loaded.version_name
            _log.warning("%s is gone from the disk, but the last of the default model: stays", name)

    def _complain(self, trouble: str, *, is_asked: bool) -> None:
        """Of all the checkpoints; once, unless it is asked about."""
        if is_asked or trouble != self._trouble:
            _log.error("all is served as before: %s", trouble)
            self._metrics.model_loads.labels("failed").inc()
        self._trouble = trouble


def _stamps(settings: Settings) -> dict[Location, Stamp]:
    return {location: location.stamp() for location in locations(settings)}


def _is_same(one: LoadedModel, other: LoadedModel) -> bool:
    """Whether nobody could tell two apart."""
    return (one.version_name, one.fingerprint, one.generator.meta) == (
        other.version_name,
        other.fingerprint,
        other.generator.meta,
    )


def _tell(error: UserError) -> None:
    _log.error("not loaded, all else is served as before: %s", error)
