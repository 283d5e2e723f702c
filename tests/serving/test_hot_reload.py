"""Checkpoints that come, change, break and go while a server answers with them."""

import asyncio
import contextlib
import gc
import json
import os
import shutil
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import torch
from echo_server import EchoModel, loaded
from test_app import served, settings

from dialog_service.checkpoint import load_checkpoint, save_checkpoint
from dialog_service.errors import CheckpointError, UserError
from dialog_service.serving.app import Server
from dialog_service.serving.checkpoint_places import Location, load_model, loading_thread
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

POLL = {"models_poll_seconds": 0.02, "max_batch_sequences": 8}
HIT, MISS = pb.CACHE_STATUS_HIT, pb.CACHE_STATUS_MISS
SEEDED = {"reply_count": 3, "sampling": pb.Sampling(seed=3)}


@pytest.fixture(scope="module")
def checkpoints(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """``checkpoints(n)``: the n-th of any number of checkpoints of different weights."""
    root = tmp_path_factory.mktemp("checkpoints")

    def made(number: int) -> Path:
        directory = root / str(number)
        if not directory.exists():
            checkpoint = load_checkpoint(tiny_checkpoint)
            torch.manual_seed(number)
            with torch.no_grad():
                for parameter in checkpoint.model.parameters():
                    parameter += 0.3 * torch.randn_like(parameter)
            save_checkpoint(checkpoint, directory)
        return directory

    return made


class Service:
    """A server of a directory of models, in this process, and a stub to call it with."""

    def __init__(self, server: Server, stub: dialog_pb2_grpc.DialogServiceStub) -> None:
        self.server = server
        self.stub = stub

    async def ask(self, model: str = "", **fields: object) -> pb.GenerateRepliesResponse:
        """A seeded request, unless ``fields`` make it another."""
        asked = {"turns": [pb.Turn(text="the soup")], **SEEDED, **fields}
        request = pb.GenerateRepliesRequest(model=model, **asked)
        return await self.stub.GenerateReplies(request, timeout=30)

    async def version(self, model: str = "") -> str:
        """The one that answers, without "models/"; or the status of the refusal."""
        try:
            return (await self.ask(model)).model_version.removeprefix("models/")
        except grpc.aio.AioRpcError as error:
            return error.code().name

    async def versions(self) -> list[str]:
        """All that are listed, in their order."""
        listed = await self.stub.ListModels(pb.ListModelsRequest(), timeout=30)
        return [model.version.removeprefix("models/") for model in listed.models]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.server.metrics.registry.get_sample_value(name, labels)

    def info(self) -> set[str]:
        """The versions that the gauge shows."""
        [gauge] = [m for m in self.server.metrics.registry.collect() if m.name.endswith("info")]
        assert all(sample.value == 1 for sample in gauge.samples)
        return {s.labels["model"].removeprefix("models/") for s in gauge.samples}

    async def loads(self, result: str, count: int) -> None:
        """Wait until so many checkpoints were looked into with this result."""
        async with asyncio.timeout(60):
            while self.metric("dialog_model_loads_total", result=result) < count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(models: Path, **fields: object) -> AsyncIterator[Service]:
    load = fields.pop("load", load_model)
    server = Server(settings(models=models, **{**POLL, **fields}), load=load)
    addresses = await server.start()
    try:
        async with grpc.aio.insecure_channel(addresses.grpc) as channel:
            yield Service(server, dialog_pb2_grpc.DialogServiceStub(channel))
    finally:
        await server.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_several_models_and_versions_side_by_side(tmp_path, checkpoints):
    for number, place in enumerate(("wed-s/9", "wed-s/10", "ded/1")):
        shutil.copytree(checkpoints(number), tmp_path / place)
    async with serving(tmp_path) as service:
        listed = ["ded/versions/1", "wed-s/versions/10", "wed-s/versions/9"]
        assert await service.versions() == listed
        assert service.info() == set(listed)
        for name, answers in {
            "": "ded/versions/1",
            "models/wed-s": "wed-s/versions/10",
            "models/wed-s/versions/9": "wed-s/versions/9",
            "models/wed-s/versions/3": "NOT_FOUND",
            "models/cvae": "NOT_FOUND",
        }.items():
            assert await service.version(name) == answers
        found = await service.stub.GetModel(pb.GetModelRequest(name="models/wed-s"))
        assert found.model.version == "models/wed-s/versions/10"
        assert not found.model.is_default
        texts = {str((await service.ask(f"models/{name}")).replies) for name in listed}
        assert len(texts) == 3  # each answers with its own weights
        with pytest.raises(grpc.aio.AioRpcError, match="cvae") as refused:
            await service.ask("models/cvae")
        assert all(f"models/{name}" in refused.value.details() for name in listed)


async def test_a_new_version_is_taken_in_and_a_removed_one_let_go(tmp_path, checkpoints):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    shutil.copytree(checkpoints(0), tmp_path / "ded/1")
    async with serving(tmp_path) as service:
        before = await service.ask("models/wed")
        shutil.copytree(checkpoints(1), tmp_path / "wed/2")
        await service.loads("ok", 3)
        assert await service.version("models/wed") == "wed/versions/2"
        assert (await service.ask("models/wed/versions/1")).replies == before.replies
        assert (await service.ask("models/wed")).replies != before.replies
        assert service.info() == {"ded/versions/1", "wed/versions/1", "wed/versions/2"}
        shutil.rmtree(tmp_path / "wed/2")
        await until(lambda: "wed/versions/2" not in service.info())
        assert await service.version("models/wed") == "wed/versions/1"
        assert await service.version("models/wed/versions/2") == "NOT_FOUND"
        shutil.rmtree(tmp_path / "wed")
        await until(lambda: service.info() == {"ded/versions/1"})
        assert await service.versions() == ["ded/versions/1"]


async def test_what_is_shown_of_a_model_goes_with_it(tmp_path, checkpoints):
    for name in ("a/1", "wed/1"):
        shutil.copytree(checkpoints(0), tmp_path / name)
    async with serving(tmp_path) as service:
        for name in ("a", "wed"):
            await service.ask(f"models/{name}")

        def named() -> set[str]:
            samples = (s for m in service.server.metrics.registry.collect() for s in m.samples)
            return {s.labels["model"][7] + s.name for s in samples if "model" in s.labels}

        await until(lambda: "wdialog_distinct_ratio" in named())
        assert "wdialog_request_self_bleu_sum" in named()
        shutil.rmtree(tmp_path / "wed/1")
        await until(lambda: not any(name.startswith("w") for name in named()))
        kept = ("distinct_ratio", "request_distinct_ratio_sum", "request_self_bleu_sum")
        assert {f"adialog_{name}" for name in kept} <= named()


async def test_the_last_version_of_the_default_model_stays_until_there_is_another(
    tmp_path, checkpoints, caplog
):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    shutil.copytree(checkpoints(0), tmp_path / "xed/1")
    async with serving(tmp_path) as service:
        shutil.rmtree(tmp_path / "wed")
        await until(lambda: "gone from the disk" in caplog.text)
        shutil.rmtree(tmp_path / "xed")  # and so there is no model at all: somebody's mistake
        await until(lambda: "no models there" in caplog.text)
        assert await service.versions() == ["wed/versions/1", "xed/versions/1"]
        shutil.copytree(checkpoints(1), tmp_path / "wed/2")
        await until(lambda: service.info() == {"wed/versions/2"})
        assert await service.versions() == ["wed/versions/2"]
        assert caplog.text.count("gone from the disk") == 1
        assert caplog.text.count("no models there") == 1


@contextlib.asynccontextmanager
async def uncollected() -> AsyncIterator[None]:
    """Nothing is freed that still refers to itself: that might take for ever."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_changed_weights_take_the_place_of_the_old_ones_which_are_freed(
    tmp_path, checkpoints
):
    models: list[weakref.ref] = []

    def load(*where) -> object:
        model = load_model(*where)
        models.append(weakref.ref(model.generator))
        return model

    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    async with serving(tmp_path, load=load, redis_url="embedded") as service, uncollected():
        before, threads = await service.ask(), threading.active_count()
        pooled = [await service.ask(sampling=None) for _ in range(4)]
        for number in (1, 2):
            save_checkpoint(load_checkpoint(checkpoints(number)), tmp_path / "wed/1")
            await service.loads("ok", 1 + number)
        after = await service.ask()
        assert before.model_version == after.model_version
        assert before.replies != after.replies
        pooled.append(await service.ask(sampling=None))
        *_, known, renewed = [each.cache.status for each in pooled]
        assert (known, renewed) == (HIT, MISS)  # another pool
        await until(lambda: models[0]() is models[1]() is None)
        assert models[2]() is not None
        await until(lambda: threading.active_count() <= threads)
        assert service.info() == {"wed/versions/1"}


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


BREAKAGES = {
    "no-weights": lambda at: (at / "weights.safetensors").unlink(),
    "weights-cut": lambda at: cut(at / "weights.safetensors"),
    "weights-zeros": lambda at: (at / "weights.safetensors").write_bytes(bytes(9999)),
    "vocabulary-cut": lambda at: cut(at / "spm.model"),
    "config-cut": lambda at: cut(at / "config.json"),
    "config-of-another": lambda at: (at / "config.json").write_text(
        (at / "config.json").read_text().replace('"embedding_dim": 24', '"embedding_dim": 25')
    ),
    "config-too-large": lambda at: (at / "config.json").write_text(
        (at / "config.json").read_text().replace('"embedding_dim": 24', f'"embedding_dim": {2**52}')
    ),
    "meta-no-json": lambda at: (at / "meta.json").write_text("{"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_a_checkpoint_that_breaks_changes_nothing_until_it_is_whole(
    breakage: str, tmp_path, checkpoints, caplog
):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    async with serving(tmp_path) as service:
        before = await service.ask()
        BREAKAGES[breakage](tmp_path / "wed/1")
        await service.loads("failed", 1)
        assert (await service.ask()).replies == before.replies
        [line] = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert str(tmp_path / "wed/1") in line
        assert "\n" not in line
        shutil.copytree(checkpoints(1), tmp_path / "wed/1", dirs_exist_ok=True)
        await service.loads("ok", 2)
        assert (await service.ask()).replies != before.replies
        assert len(await service.versions()) == 1


async def test_a_directory_that_is_still_being_copied_waits_until_it_is_whole(
    tmp_path, checkpoints, caplog
):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    async with serving(tmp_path, models_poll_seconds=0) as service:

        async def look() -> None:
            await service.server._models._look(is_asked=False)

        (tmp_path / "wed/2").mkdir()
        await look()
        for path in sorted(checkpoints(1).iterdir()):
            with (tmp_path / "wed/2" / path.name).open("wb", buffering=0) as file:
                whole = path.read_bytes()
                for start in range(0, len(whole), -(-len(whole) // 4)):
                    file.write(whole[start : start + -(-len(whole) // 4)])
                    await look()  # never twice the same at two looks
        assert await service.version() == "wed/versions/1"
        await look()
        await service.loads("ok", 2)
        assert await service.version() == "wed/versions/2"
        assert service.metric("dialog_model_loads_total", result="failed") == 0
        assert not [r for r in caplog.records if r.levelname == "ERROR"]


async def test_files_that_change_while_they_are_read_are_not_served(tmp_path, checkpoints):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    writing: list[Path] = []

    def load(location: Location, chosen) -> object:
        model = load_model(location, chosen)
        if writing:  # the weights of another, after those of this one were read
            shutil.copy(checkpoints(2) / "weights.safetensors", writing.pop())
        return model

    async with serving(tmp_path, load=load) as service:
        writing.append(tmp_path / "wed/2/weights.safetensors")
        shutil.copytree(checkpoints(1), tmp_path / "wed/2")
        await service.loads("ok", 2)
        assert service.metric("dialog_model_loads_total", result="failed") == 1
        replies = (await service.ask("models/wed/versions/2")).replies
        shutil.copytree(checkpoints(2), tmp_path / "wed/3")
        await service.loads("ok", 3)
        assert (await service.ask("models/wed/versions/3")).replies == replies


async def test_what_nobody_could_tell_apart_is_not_swapped(tmp_path, checkpoints):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    async with serving(tmp_path) as service:
        [model] = service.server._registry
        shutil.copytree(checkpoints(0), tmp_path / "wed/1", dirs_exist_ok=True)
        await service.loads("ok", 2)
        assert list(service.server._registry) == [model]


async def test_a_server_starts_with_what_can_be_used_of_every_model(tmp_path, checkpoints, caplog):
    for name in ("wed/1", "wed/2", "ded/1"):
        shutil.copytree(checkpoints(0), tmp_path / name)
    cut(tmp_path / "wed/2/weights.safetensors")
    async with serving(tmp_path) as service:
        assert await service.versions() == ["ded/versions/1", "wed/versions/1"]
        assert service.metric("dialog_model_loads_total", result="failed") == 1
    cut(tmp_path / "ded/1/weights.safetensors")
    with pytest.raises(CheckpointError, match="ded/1/weights"):
        await Server(settings(models=tmp_path)).start()
    shutil.rmtree(tmp_path / "ded/1")
    shutil.copytree(checkpoints(0), tmp_path / "not a name/1")
    with pytest.raises(UserError, match="not a name"):
        await Server(settings(models=tmp_path)).start()


async def test_the_checkpoint_of_a_run_is_followed_too(tmp_path, checkpoints):
    save_checkpoint(load_checkpoint(checkpoints(0)), tmp_path / "best")
    chosen = settings(model=tmp_path, **POLL)
    server = Server(chosen)
    addresses = await server.start()
    async with grpc.aio.insecure_channel(addresses.grpc) as channel:
        service = Service(server, dialog_pb2_grpc.DialogServiceStub(channel))
        before = await service.ask()
        assert before.model_version == "models/wed_s/versions/1"
        other = load_checkpoint(checkpoints(1))
        renamed = other.meta.model_copy(update={"version": "2"})
        save_checkpoint(replace(other, meta=renamed), tmp_path / "best")
        await until(lambda: service.info() == {"wed_s/versions/2"})
        assert (await service.ask()).replies != before.replies
        assert await service.version("models/wed_s/versions/1") == "NOT_FOUND"
    await server.close()


async def test_without_polling_a_reload_is_asked_for_and_tries_again_what_failed(
    tmp_path, checkpoints, caplog
):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    async with serving(tmp_path, models_poll_seconds=0) as service:
        shutil.copytree(checkpoints(1), tmp_path / "wed/2")
        cut(tmp_path / "wed/2/weights.safetensors")
        await asyncio.sleep(0.1)
        for count in (1, 2):
            service.server.reload()
            await service.loads("failed", count)
        assert await service.version() == "wed/versions/1"
        shutil.copytree(checkpoints(1), tmp_path / "wed/2", dirs_exist_ok=True)
        service.server.reload()
        await service.loads("ok", 2)
        assert await service.version() == "wed/versions/2"
        assert service.metric("dialog_model_loads_total", result="failed") == 2


async def test_a_request_under_way_is_finished_by_the_model_it_began_with(tmp_path):
    models: list[EchoModel] = []

    def load(location: Location, _: object):
        models.append(EchoModel(fingerprint=location.stamp().__repr__()))
        return loaded(models[-1], name=location.name, version=location.version)

    config = tmp_path / "wed/1/config.json"
    config.parent.mkdir(parents=True)
    config.write_text("one")
    async with serving(tmp_path, load=load, redis_url="embedded") as service:
        models[0].hold()
        plain = {"reply_count": 3, "sampling": None}
        turns = [[pb.Turn(text=f"{number}")] for number in range(20)]
        old = [asyncio.create_task(service.ask(turns=each, **plain)) for each in turns]
        depth = "dialog_queue_depth_sequences"
        await until(
            lambda: (
                models[0].batches and service.metric(depth) == 60 - 3 * len(models[0].batches[0])
            )
        )
        config.write_text("another")
        await service.loads("ok", 2)
        assert (await service.ask(**plain)).replies
        assert models[1].finished
        models[0].release()
        for number, response in enumerate(await asyncio.gather(*old)):
            assert response.replies[0].text.startswith(f"{number} /")
        assert len(models[0].finished) == 20
        await until(lambda: not [t for t in asyncio.all_tasks() if "drop" in t.get_name()])


async def test_under_load_every_call_is_answered_by_the_version_it_names(tmp_path, checkpoints):
    ends: list[str] = []
    answers: dict[str, list] = {}  # to the seeded request, by the version that is said to answer
    is_over = asyncio.Event()

    def note(version: str, replies: list) -> None:
        ends.append(version)
        assert answers.setdefault(version, replies) == replies

    async def at_once(service: Service) -> None:
        response = await service.ask()
        note(response.model_version, list(response.replies))

    async def streamed(service: Service) -> None:
        request = pb.GenerateRepliesRequest(turns=[pb.Turn(text="the soup")], **SEEDED)
        asked = pb.StreamRepliesRequest(request=request)
        *told, last = [event async for event in service.stub.StreamReplies(asked, timeout=30)]
        note(last.summary.model_version, [event.reply.reply for event in told])

    async def pooled(service: Service) -> None:
        response = await service.ask(sampling=None)
        assert len(response.replies) == 3
        ends.append(response.model_version)

    async def over_and_over(call: Callable, service: Service) -> None:
        while not is_over.is_set():
            await call(service)

    async def a_few_more() -> None:
        enough = len(ends) + 6
        await until(lambda: len(ends) > enough or any(caller.done() for caller in callers))

    shutil.copytree(checkpoints(1), tmp_path / "wed/1")
    async with serving(tmp_path, redis_url="embedded") as service:
        kinds = (at_once, streamed, pooled) * 2
        callers = [asyncio.create_task(over_and_over(kind, service)) for kind in kinds]
        for version in range(2, 6):
            await a_few_more()
            shutil.copytree(checkpoints(version), tmp_path / f"wed/{version}")
            await service.loads("ok", version)
            shutil.rmtree(tmp_path / f"wed/{version - 1}")
            await until(lambda: len(service.info()) == 1)
        await a_few_more()
        is_over.set()
        await asyncio.gather(*callers)
    assert sorted(answers) == [f"models/wed/versions/{n}" for n in range(1, 6)]
    assert len({str(replies) for replies in answers.values()}) == 5


async def test_sighup_reloads_a_running_process_under_load(tmp_path, checkpoints):
    shutil.copytree(checkpoints(0), tmp_path / "wed/1")
    flags = ("--models", str(tmp_path), "--models-poll-seconds", "0", "--log-level", "warning")
    ends: list[str] = []
    is_over = asyncio.Event()
    async with (
        served(*flags, "--log-format", "json") as (process, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = dialog_pb2_grpc.DialogServiceStub(channel)
        asked = pb.GenerateRepliesRequest(turns=[pb.Turn(text="the soup")])

        async def call() -> None:  # without retries
            while not is_over.is_set():
                response = await stub.GenerateReplies(asked, timeout=60)
                ends.append(response.model_version if response.replies else "EMPTY")

        async def until_it_is(version: str) -> None:
            latest = len(ends) + len(callers)  # whose answer was begun before
            await until(lambda: version in ends[latest:] or any(c.done() for c in callers))

        callers = [asyncio.create_task(call()) for _ in range(4)]
        await until_it_is("models/wed/versions/1")
        shutil.copytree(checkpoints(1), tmp_path / "wed/2")
        process.send_signal(signal.SIGHUP)
        await until_it_is("models/wed/versions/2")
        cut(tmp_path / "wed/2/weights.safetensors")
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            line = json.loads(await process.stderr.readline())
        assert line["level"] == "error"
        assert str(tmp_path / "wed/2/weights.safetensors") in line["message"]
        await until_it_is("models/wed/versions/2")
        is_over.set()
        await asyncio.gather(*callers)
    assert list(dict.fromkeys(ends)) == [f"models/wed/versions/{n}" for n in (1, 2)]


def test_the_thread_that_loads_leaves_the_cores_to_those_that_generate():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        loading = loading_thread()
        with ThreadPoolExecutor(1) as generating:
            assert generating.submit(torch.get_num_threads).result() == 3
        assert loading.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
