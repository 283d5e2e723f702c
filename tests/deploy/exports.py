"""What a real server's /metrics shows once everything that it counts has happened."""

import asyncio
import itertools
import tempfile
import urllib.request
from collections import defaultdict
from pathlib import Path

import grpc
from echo_server import EchoModel, Running, running
from prometheus_client.parser import text_string_to_metric_families
from queries import Exported
from redis_process import RedisProcess

from dialog_service.v1 import dialog_pb2 as pb

_OPEN = {"model", "version", "preset", "op"}  # labels whose values are not for queries to name


def exported() -> Exported:
    """The series of a server that had hits, misses, refusals, lost callers and lost its Redis."""
    series: dict[str, dict[str, set[str]]] = {}
    texts = asyncio.run(_figures())
    families = itertools.chain.from_iterable(map(text_string_to_metric_families, texts))
    for sample in (sample for family in families for sample in family.samples):
        labels = series.setdefault(sample.name, defaultdict(set))
        for label, value in sample.labels.items():
            labels[label].add(value)
    return Exported({name: _closed(labels) for name, labels in series.items()})


def _closed(labels: dict[str, set[str]]) -> dict[str, frozenset[str] | None]:
    """Status codes are all there are; other labels have the values that were seen."""
    codes = {code.name for code in grpc.StatusCode}
    seen = {label: codes if label == "code" else values for label, values in labels.items()}
    return {k: None if k in _OPEN else frozenset(values) for k, values in seen.items()}


async def _figures() -> list[str]:
    """The text of /metrics, with Redis and without, where the fleet's figures go."""
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        redis = RedisProcess(Path(directory))
        redis.start()
        settings = {"redis_url": redis.url, "metrics_address": "127.0.0.1:0"}
        limits = {"queue_capacity_sequences": 32, "max_batch_sequences": 32}
        try:
            async with running(EchoModel(), **settings, **limits) as service:
                await _converse(service)
                await _overload(service)
                url = f"http://{service.addresses.metrics}/metrics"
                texts = [await asyncio.to_thread(_read, url)]
                redis.kill()
                await service.ask("without Redis")
                return [*texts, await asyncio.to_thread(_read, url)]
        finally:
            redis.kill()


async def _converse(service: Running) -> None:
    """Hits and misses, until the fleet's figures of both are there."""
    for _ in range(3):
        await service.ask()
    await service.ask(cache_mode=pb.CACHE_MODE_BYPASS)
    model = service.server.metrics
    async with asyncio.timeout(30):
        while len(_fleet_sources(model.registry.collect())) < 2:
            await service.ask()  # what a slow Redis did not take is lost
            await asyncio.sleep(0.05)


def _fleet_sources(families) -> set[str]:
    return {
        sample.labels["source"]
        for family in families
        for sample in family.samples
        if sample.name == "dialog_distinct_ratio" and sample.labels["scope"] == "fleet"
    }


async def _overload(service: Running) -> None:
    """A full queue, and callers that do not wait for their answers."""
    service.model.hold()
    modes = {"reply_count": 32, "cache_mode": pb.CACHE_MODE_BYPASS}
    calls = [asyncio.create_task(service.ask("under way", **modes))]
    async with asyncio.timeout(30):
        while ("under way",) not in {
            each.turns for batch in service.model.batches for each in batch
        }:
            await asyncio.sleep(0.01)
        calls += [asyncio.create_task(service.ask(f"more {n}", **modes)) for n in range(3)]
        while not service.metric("dialog_requests_shed_total", reason="queue_full"):
            await asyncio.sleep(0.01)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    async with asyncio.timeout(30):
        while not service.metric("dialog_requests_cancelled_total", stage="queue"):
            await asyncio.sleep(0.01)
    service.model.release()


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read().decode()
