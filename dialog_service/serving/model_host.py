"""Puts models behind queues of their own, and lets those that go finish what they have."""

import asyncio
import logging

from dialog_service.serving.batcher import Batcher, BatchLimits
from dialog_service.serving.blocked_phrases import Blocklist
from dialog_service.serving.live_diversity import LiveDiversity
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.registry import LoadedModel, ModelRegistry, ServedModel
from dialog_service.serving.settings import Settings

_log = logging.getLogger(__name__)


class ModelHost:
    """Brings models into a registry and takes them out of it."""

    def __init__(
        self,
        registry: ModelRegistry,
        settings: Settings,
        blocklist: Blocklist,
        metrics: Metrics,
        live: LiveDiversity,
    ) -> None:
        """Nothing served yet."""
        self._registry = registry
        self._limits = BatchLimits(
            max_batch_sequences=settings.max_batch_sequences,
            max_wait_seconds=settings.max_wait_seconds,
            queue_capacity_sequences=settings.queue_capacity_sequences,
        )
        self._blocklist = blocklist
        self._metrics = metrics
        self._live = live
        self._leaving: dict[ServedModel, asyncio.Task[None]] = {}

    async def serve(
        self, loaded: LoadedModel, *, instead_of: ServedModel | None = None
    ) -> ServedModel:
        """Take requests for a model, from now on and in the place of another, if one is given."""
        batcher = Batcher(loaded.generator, self._limits, self._metrics)
        await batcher.warm_up()
        batcher.start()
        model = ServedModel(loaded=loaded, batcher=batcher, blocklist=self._blocklist)
        self._registry.add(model)
        self._metrics.model_info.labels(*_labels(loaded)).set(1)
        if instead_of:
            self.retire(instead_of)
        return model

    def retire(self, model: ServedModel) -> None:
        """Take no more requests for a model, and drop it once it has answered those it has."""
        self._registry.remove(model)
        if _labels(model.loaded) not in {_labels(other.loaded) for other in self._registry}:
            self._metrics.model_info.remove(*_labels(model.loaded))
        leaving = asyncio.create_task(self._drop(model), name="drop of a model")
        self._leaving[model] = leaving
        leaving.add_done_callback(lambda _: self._leaving.pop(model, None))

    async def close(self) -> None:
        """End every queue, whatever is in it; may be called twice."""
        leaving = dict(self._leaving)
        for task in leaving.values():
            task.cancel()
        await asyncio.gather(*leaving.values(), return_exceptions=True)
        for model in (*leaving, *self._registry):
            await model.batcher.close()

    async def _drop(self, model: ServedModel) -> None:
        await model.uses.wait_until_none()
        await model.batcher.close()
        name = model.loaded.version_name
        if name not in self._registry:
            self._live.forget(name)
            self._metrics.forget(name)
        _log.info("a model has gone: %s", name)


def _labels(model: LoadedModel) -> tuple[str, str, str]:
    """Of the gauge that tells what is served."""
    return model.version_name, model.version, model.generator.meta.preset
