"""``dialog-service serve --processes 2`` as it is: real processes on one port."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dialog_service.client import AsyncDialogClient, CallFailed
from dialog_service.v1 import dialog_pb2 as pb

PROGRAM = str(Path(sys.executable).with_name("dialog-service"))
ASKED = {"method": "GenerateReplies", "code": "OK"}
SEEDED = pb.GenerateRepliesRequest(
    turns=[pb.Turn(text="the soup")], reply_count=3, sampling=pb.Sampling(seed=3)
)


class Service:
    """Two processes and the one that started them; ``pids`` are all that run for it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("Ready on "), ready
        self.address = re.findall(r"Ready on (\S+),", ready)[0]
        self.figures: list[str] = re.findall(r"http://\S+/metrics", ready)
        self.pids = children(process.pid)

    @property
    def replicas(self) -> list[int]:
        """Process ids of those that answer."""
        return [pid for pid in children(self.process.pid) if b"serving.replica" in command(pid)]

    def answered(self, number: int) -> float:
        """How many requests one of the two has answered; 0 while it is not there."""
        return self.figure(number, "dialog_requests_total", ASKED)

    def figure(self, number: int, name: str, labels: dict[str, str]) -> float:
        try:
            with urllib.request.urlopen(self.figures[number], timeout=10) as page:
                text = page.read().decode()
        except OSError:
            return 0.0
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        return sum(s.value for s in samples if s.name == name and s.labels == labels)

    def client(self) -> AsyncDialogClient:
        """One with a connection of its own."""
        return AsyncDialogClient(self.address, is_plain=True)

    async def client_of(self, number: int, stack: contextlib.AsyncExitStack) -> AsyncDialogClient:
        """One whose connection goes to a certain one of the two."""
        for _ in range(64):
            client = await stack.enter_async_context(self.client())
            before = self.answered(number)
            await client.generate_replies(SEEDED)
            if self.answered(number) > before:
                return client
        raise AssertionError("the kernel gives it no connection")

    def wait_until_all_are_gone(self) -> None:
        deadline = time.monotonic() + 30
        while alive := [pid for pid in self.pids if is_alive(pid)]:
            assert time.monotonic() < deadline, [command(pid) for pid in alive]
            time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def is_alive(pid: int) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
    return command(pid) != b""


@contextlib.contextmanager
def served(model: Path, *flags: str) -> Iterator[Service]:
    ports = ("--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0")
    patience = ("--cache-timeout-seconds", "10", "--max-batch-sequences", "8")
    with subprocess.Popen(
        (PROGRAM, "serve", "--processes", "2", *ports, *patience, "--models", str(model), *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def models(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(tiny_checkpoint, root / "tiny/1")
    return root


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with served(models, "--models-poll-seconds", "0", "--drain-delay-seconds", "0") as found:
        yield found


@pytest.fixture
async def both(service: Service) -> AsyncIterator[list[AsyncDialogClient]]:
    """A client of each of the two, which both get connections at the one port."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await service.client_of(number, stack) for number in (0, 1)]


async def test_seeded_replies_are_the_same_whichever_answers(both: list[AsyncDialogClient]):
    first, second = [await client.generate_replies(SEEDED) for client in both]
    assert list(first.replies) == list(second.replies)
    assert len(first.replies) == 3


@pytest.mark.parametrize("filler", [0, 1])
async def test_what_one_puts_into_a_pool_the_other_draws(
    both: list[AsyncDialogClient], filler: int
):
    said = f"the weather {filler}"
    filled = await both[filler].ask(said, reply_count=5)
    drawn = await both[1 - filler].ask(said, reply_count=1)
    statuses = [response.cache.status for response in (filled, drawn)]
    assert statuses == [pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_HIT]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)


async def test_sighup_reaches_all(service: Service, both: list[AsyncDialogClient], models: Path):
    shutil.copytree(models / "tiny/1", models / "tiny/2")
    service.process.send_signal(signal.SIGHUP)
    for client in both:
        async with asyncio.timeout(30):
            while len((await client.list_models()).models) < 2:
                await asyncio.sleep(0.05)


async def test_one_that_is_killed_comes_back_while_the_other_answers(service: Service):
    killed, other = service.replicas
    await asyncio.gather(*(until(lambda n=n: service.answered(n) > 0) for n in (0, 1)))
    os.kill(killed, signal.SIGKILL)
    await until(lambda: 0 in (service.answered(0), service.answered(1)))
    number = [service.answered(0), service.answered(1)].index(0)
    async with asyncio.timeout(60):
        while not service.answered(number):  # nobody is refused, nor sent to one that loads
            async with service.client() as client:
                assert (await client.generate_replies(SEEDED)).replies
    assert other in service.replicas
    assert len(service.replicas) == 2
    service.pids = children(service.process.pid)


async def ask_until_gone(client: AsyncDialogClient, ends: list[str]) -> None:
    """Note how requests end, one after the other, until the server is gone."""
    while "UNAVAILABLE" not in ends:
        try:
            response = await client.generate_replies(SEEDED)
            ends.append("OK" if len(response.replies) == 3 else "SHORT")
        except CallFailed as failed:
            ends.append(failed.status)
        await asyncio.sleep(0.005)


async def test_sigterm_loses_no_accepted_request_and_leaves_nothing(models: Path):
    ends: list[list[str]] = [[] for _ in range(16)]
    with served(models, "--drain-delay-seconds", "0.3") as service:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(service.client()) for _ in ends]
            pairs = zip(clients, ends, strict=True)
            callers = [asyncio.create_task(ask_until_gone(*pair)) for pair in pairs]
            while not all(ends):
                await asyncio.sleep(0.01)
            replicas = service.replicas
            service.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
            for pid in replicas:  # as a service manager does, who tells every process
                os.kill(pid, signal.SIGTERM)
            await asyncio.gather(*callers)
        assert await asyncio.to_thread(service.process.wait, 30) == 0
        service.wait_until_all_are_gone()
        logged = service.process.stderr.read()
        assert "Traceback" not in logged
        assert set(re.findall(r"INFO .* (\S+)$", logged, re.MULTILINE)) == {
            "replica=0",
            "replica=1",
        }
    assert [sorted(set(each)) for each in ends] == [["OK", "UNAVAILABLE"]] * len(ends)


def failed(*flags: str) -> str:
    """The one line of a service that cannot start."""
    done = subprocess.run(
        (PROGRAM, "serve", "--processes", "2", "--redis-url", "off", *flags),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_taken_is_said_once(service: Service):
    said = failed("--grpc-address", service.address)
    assert said == (
        f"dialog-service: cannot listen on {service.address}; has another server that port?\n"
    )


def test_a_checkpoint_that_cannot_be_used_is_said_once(models: Path, tmp_path: Path):
    broken = shutil.copytree(models / "tiny/1", tmp_path / "broken")
    (broken / "weights.safetensors").write_bytes(b"cut short")
    flags = ("--grpc-address", "127.0.0.1:0", "--metrics-address", "off", "--model", str(broken))
    assert "weights.safetensors" in failed(*flags)


async def test_where_the_first_process_is_killed_no_other_is_left(service: Service):
    assert len(service.pids) == 4  # two that answer, Redis and what watches over that
    async with service.client() as client:
        assert await client.is_ready()
    service.process.kill()
    service.process.wait()
    await asyncio.to_thread(service.wait_until_all_are_gone)
