"""The life of a server: loading, serving, draining, stopping; two of them on one Redis."""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from echo_server import EchoModel, Running, loaded, no_model, running
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from redis_process import RedisProcess

from dialog_service.client import AsyncDialogClient
from dialog_service.diversity import distinct_ratio, metric_tokens, self_bleu
from dialog_service.errors import CheckpointError, ConfigError
from dialog_service.serving.admission import Phase
from dialog_service.serving.app import Server
from dialog_service.serving.registry import LoadedModel
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

SERVICE = "dialog_service.v1.DialogService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, service: str = SERVICE) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


def settings(**fields: object) -> Settings:
    chosen = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": "off"}
    chosen["cache_timeout_seconds"] = 10.0  # a busy machine's Redis is waited for
    return Settings(**{**chosen, **fields})


async def held_request(service: Running) -> asyncio.Task:
    """A request that the model is at work on, until it is released."""
    service.model.hold()
    task = asyncio.create_task(service.ask("under way"))
    while not service.model.batches:
        await asyncio.sleep(0.001)
    return task


async def test_while_it_loads_a_server_is_alive_and_not_ready():
    go = threading.Event()

    def load(*_: object) -> LoadedModel:
        go.wait(60)
        return loaded(EchoModel())

    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = Server(settings(grpc_address=address), load=load)
    starting = asyncio.create_task(server.start())

    def refused() -> float | None:
        value = server.metrics.registry.get_sample_value
        return value("dialog_requests_shed_total", {"reason": "loading"})

    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        assert await health(channel, "") == SERVING
        assert await health(channel) == NOT_SERVING
        async with AsyncDialogClient(address, timeout_seconds=20) as client:
            listing = asyncio.create_task(client.list_models())  # is refused and tried again
            async with asyncio.timeout(30):
                while not refused():
                    await asyncio.sleep(0.001)
            go.set()
            await starting
            assert (await listing).models[0].name == "models/echo"
        assert await health(channel) == SERVING
    await server.close()
    assert refused() >= 1


async def test_a_server_is_ready_when_the_thread_that_generates_has_done_so():
    async with running() as service:
        [thread] = service.model.warm_ups
        assert thread.startswith("generate")


async def test_a_draining_server_serves_on_then_refuses_and_finishes_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
):
    delay, has_passed, sleep = 123.0, asyncio.Event(), asyncio.sleep

    async def waited(seconds: float) -> None:
        await (has_passed.wait() if seconds == delay else sleep(seconds))

    monkeypatch.setattr(asyncio, "sleep", waited)
    async with running() as service:
        draining = asyncio.create_task(service.server.drain(delay_seconds=delay))
        async with asyncio.timeout(30):
            while await health(service.channel) == SERVING:
                await asyncio.sleep(0.001)
        assert await health(service.channel) == NOT_SERVING
        assert await health(service.channel, "") == SERVING
        assert (await service.ask()).replies  # load balancers have not looked yet
        service.model.batches.clear()
        under_way = await held_request(service)
        has_passed.set()
        async with asyncio.timeout(30):
            while service.server._admission.phase is not Phase.DRAINING:
                await asyncio.sleep(0.001)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.ask()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        hint = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(refused.value).details[0].Unpack(hint)
        assert hint.retry_delay.seconds == 1
        assert not draining.done()
        service.model.release()
        assert (await under_way).replies
        await draining


async def test_what_outlives_the_grace_is_cut_off_with_a_status():
    async with running(drain_grace_seconds=0.05) as service:
        under_way = await held_request(service)
        await service.server.drain(delay_seconds=0)
        await service.server.close()
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await under_way
    assert cut.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_client_keeps_calls_back_beyond_those_a_connection_may_have_under_way():
    async with running(max_concurrent_streams=2) as service:
        first = await held_request(service)
        second = asyncio.create_task(service.ask("under way too"))
        while service.metric("dialog_queue_depth_sequences") == 0:
            await asyncio.sleep(0.001)
        third = asyncio.create_task(service.ask("kept back"))
        own = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own
        async with grpc.aio.insecure_channel(service.addresses.grpc, own) as channel:
            for _ in range(3):
                assert await health(channel) == SERVING
        assert service.metric("dialog_queue_depth_sequences") == 5
        service.model.release()
        assert all(response.replies for response in await asyncio.gather(first, second, third))


async def test_closing_twice_and_before_the_start_does_nothing():
    server = Server(settings())
    await server.close()
    async with running() as service:
        await service.server.close()
        await service.server.close()


async def test_a_port_that_is_taken_stops_the_start():
    async with running(metrics_address="127.0.0.1:0") as service:
        for taken in (
            {"grpc_address": service.addresses.grpc},
            {"metrics_address": service.addresses.metrics},
        ):
            with pytest.raises(ConfigError, match=r"127\.0\.0\.1:\d+"):
                await Server(settings(**taken), load=no_model).start()
        assert (await service.ask()).replies


@pytest.mark.parametrize(
    ("address", "why"),
    [("nowhere.invalid:0", "no such host is known here"), ("192.0.2.1:0", "no such address here")],
)
async def test_an_address_that_is_not_here_stops_the_start(address: str, why: str):
    with pytest.raises(ConfigError, match=f"cannot listen on {address}: {why}"):
        await Server(settings(grpc_address=address), load=no_model).start()


async def test_a_checkpoint_that_cannot_be_loaded_stops_the_start_and_leaves_nothing(
    tmp_path: Path,
):
    server = Server(settings(model=tmp_path / "absent"))
    with pytest.raises(CheckpointError):
        await server.start()
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint(
        {"batcher", "diversity gauges"}
    )


async def test_the_embedded_redis_is_the_default_and_goes_with_the_server():
    async with running(redis_url="embedded", cache_pool_size=5) as service:
        statuses = [(await service.ask()).cache.status for _ in range(2)]
        assert service.metric("dialog_redis_up") == 1
    assert statuses == [pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_HIT]


async def test_where_no_redis_can_run_the_cache_is_in_the_process_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(
        "dialog_service.serving.embedded_redis.server_executables", lambda: iter(())
    )
    async with running(redis_url="embedded", cache_pool_size=5) as service:
        answers = [await service.ask() for _ in range(2)]
    assert [answer.cache.status for answer in answers] == [pb.CACHE_STATUS_DEGRADED] * 2
    assert {r.text for r in answers[0].replies} == {r.text for r in answers[1].replies}
    assert [r for r in caplog.records if "DEGRADED" in r.message]


async def test_fleet_figures_agree_with_a_count_over_all_replies(
    redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
):
    # A command that comes too late loses its tokens for the fleet, by design; here none may.
    monkeypatch.setattr("dialog_service.serving.live_diversity._TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr("dialog_service.serving.cache._CONNECT_SECONDS", 60.0)
    shown: dict[str, float] = {}
    returned: list[list[str]] = []
    choice = {"redis_url": redis_server.url, "diversity_window_tokens": 1_000_000}
    models = [EchoModel(variety=400), EchoModel(variety=400)]
    async with running(models[0], **choice) as first, running(models[1], **choice) as second:
        for number in range(120):
            for service in (first, second):  # the same few words, so that ratios do not average
                request = {"reply_count": 10, "cache_mode": pb.CACHE_MODE_BYPASS}
                response = await service.ask(f"word{number % 7}", **request)
                returned += [metric_tokens(reply.text) for reply in response.replies]
        labels = {"model": "models/echo/versions/1", "source": "fresh"}
        tokens = await fleet_tokens(first, labels, at_least=sum(map(len, returned)))
        for n in ("1", "2"):
            for scope in ("fleet", "replica"):
                place = {**labels, "scope": scope, "n": n}
                shown[scope + n] = first.metric("dialog_distinct_ratio", **place)
        for service in (first, second):
            assert service.metric("dialog_cache_errors_total", op="diversity_publish") == 0
    assert tokens == sum(map(len, returned))
    for n in (1, 2):
        truth = distinct_ratio(returned, n)
        assert shown[f"fleet{n}"] == pytest.approx(truth, rel=0.02)
        assert shown[f"replica{n}"] > 1.2 * truth


@pytest.mark.parametrize(("every_seconds", "measured"), [(1e6, 1), (0.0, 3)])
async def test_self_bleu_of_some_requests_with_several_replies(
    monkeypatch: pytest.MonkeyPatch, every_seconds: float, measured: int
):
    monkeypatch.setattr("dialog_service.serving.responder._SAMPLED_EVERY_SECONDS", every_seconds)
    model = "models/echo/versions/1"
    async with running(EchoModel(variety=3)) as service:
        counts = (1, 4, 4, 4)  # one reply has no siblings
        responses = [await service.ask(reply_count=count) for count in counts]
        asked = [[metric_tokens(r.text) for r in each.replies] for each in responses][1:]
        for n in (2, 4):
            labels = {"model": model, "n": str(n)}
            assert service.metric("dialog_request_self_bleu_count", **labels) == measured
            assert service.metric("dialog_request_self_bleu_sum", **labels) == pytest.approx(
                sum(self_bleu(replies, n) for replies in asked[:measured])
            )


async def fleet_tokens(service: Running, labels: dict[str, str], *, at_least: int) -> float:
    """What the fleet's window holds once it holds so much, or after 30 seconds."""
    window = {**labels, "scope": "fleet"}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while service.metric("dialog_diversity_window_tokens", **window) < at_least:
                await asyncio.sleep(0.05)
    return service.metric("dialog_diversity_window_tokens", **window)


@contextlib.asynccontextmanager
async def served(*flags: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """``dialog-service serve`` in a process of its own, and where it listens."""
    program = Path(sys.executable).with_name("dialog-service")
    command = (str(program), "serve", "--grpc-address", "127.0.0.1:0", "--metrics-address", "off")
    process = await asyncio.create_subprocess_exec(
        *command, *flags, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        assert ready.startswith("Ready on "), (ready, await process.stderr.read())
        yield process, ready.split()[2].rstrip(".,")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ask_until_gone(address: str, ends: list[str]) -> None:
    """Note how requests end, one after the other, until the server is gone."""
    async with grpc.aio.insecure_channel(address) as channel:
        ask = dialog_pb2_grpc.DialogServiceStub(channel).GenerateReplies
        request = pb.GenerateRepliesRequest(turns=[pb.Turn(text="the soup")], reply_count=2)
        while "UNAVAILABLE" not in ends:
            try:
                response = await ask(request, timeout=60)
                ends.append("OK" if len(response.replies) == 2 else "SHORT")
            except grpc.aio.AioRpcError as error:
                ends.append(error.code().name)
            await asyncio.sleep(0.005)


async def test_sigterm_under_load_loses_no_accepted_request(tiny_checkpoint: Path):
    ends: list[list[str]] = [[] for _ in range(8)]
    async with served("--model", str(tiny_checkpoint), "--drain-delay-seconds", "0.3") as service:
        process, address = service
        callers = [asyncio.create_task(ask_until_gone(address, each)) for each in ends]
        while not all(ends):
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*callers)
        assert await process.wait() == 0
    assert [sorted(set(each)) for each in ends] == [["OK", "UNAVAILABLE"]] * 8


async def test_ctrl_c_ends_a_server_at_once_and_well(tiny_checkpoint: Path):
    flags = ("--drain-delay-seconds", "600")
    async with served("--model", str(tiny_checkpoint), *flags) as (process, address):
        async with AsyncDialogClient(address) as client:
            assert await client.is_ready()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert b"Traceback" not in await process.stderr.read()
    async with AsyncDialogClient(address) as client:
        assert not await client.is_ready()
