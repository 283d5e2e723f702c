"""Two replicas, one Redis, many clients, a fault every 20 seconds: ``make soak``.

Fails on a wrong answer, a call that hangs past its deadline, an accepted request that was lost, a
status that nobody should see, and memory that grows. Replicas are stopped and killed in the first
half; over the last third their memory is watched. Writes everything to a JSON file.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "serving")]

import typer  # noqa: E402
import vanishing_client  # noqa: E402
from load import loaded  # noqa: E402
from redis_faults import FAULTS, Redis, running_redis  # noqa: E402
from replica import Replica  # noqa: E402

from dialog_service.load.calls import Outcome  # noqa: E402
from dialog_service.load.figures import Figures  # noqa: E402

FAULT_SECONDS = 20.0  # from one to the next
OUTAGE_SECONDS = 6.0
MEMORY_SECONDS = 2.0  # between two looks at it
MEGABYTES_A_MINUTE = 1.0
# Nobody sends what is wrong, and nobody but those who vanish cancels.
ALLOWED = {"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
FLAGS = (
    *("--drain-delay-seconds", "1"),
    *("--queue-capacity-sequences", "16384"),  # a refused item would make a call neither one's
    *("--diversity-window-tokens", "10000"),  # full before memory is watched
)


@dataclass
class Counted(Figures):
    """Figures that know how many calls were answered in full."""

    answered: int = 0

    def add(self, outcome: Outcome) -> None:
        super().add(outcome)
        self.answered += set(outcome.statuses) == {"OK"}


@dataclass
class Lives:
    """One replica over all its lives, and what its clients have seen of it."""

    name: str
    replica: Replica
    figures: Counted = field(default_factory=Counted)
    lost: int = 0  # calls it says it answered, in lives that ended in order, less those that were
    memory: list[tuple[float, int]] = field(default_factory=list)  # when, bytes
    _answered_before: int = 0

    async def stop(self) -> None:
        """End in order, and count."""
        self.replica.signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.replica.wait)
        await asyncio.sleep(1)  # for clients to read what they have been sent
        logged = self.replica.logged()
        own = [line for line in logged if line["request_id"] != vanishing_client.REQUEST_ID]
        accepted = sum(line["code"] == "OK" for line in own)
        self.lost += accepted - (self.figures.answered - self._answered_before)
        self.lost += 10**6 * (code != 0)
        self._forget()

    async def kill(self) -> None:
        """End at once: what it had under way goes with it."""
        self.replica.kill()
        await asyncio.sleep(1)
        self._forget()

    async def start(self) -> None:
        await asyncio.to_thread(self.replica.start)

    def _forget(self) -> None:
        self._answered_before = self.figures.answered
        self.replica.log.unlink()

    def look(self) -> None:
        """Note the memory, where there is a process."""
        with contextlib.suppress(OSError, IndexError):
            self.memory.append((time.monotonic(), self.replica.resident_bytes()))

    def growth(self, since: float) -> float:
        """Of the memory, in MB a minute: between the medians of two halves of the time."""
        watched = [each for each in self.memory if each[0] >= since]
        halves = watched[: len(watched) // 2], watched[len(watched) // 2 :]
        (then, before), (now, after) = (
            map(statistics.median, zip(*h, strict=True)) for h in halves
        )
        return (after - before) / 2**20 / ((now - then) / 60)


@dataclass
class Soak:
    """A soak under way."""

    redis: Redis
    lives: list[Lives]
    seconds: float
    started: float = field(default_factory=time.monotonic)
    faults: list[tuple[float, str]] = field(default_factory=list)  # when, which

    @property
    def passed(self) -> float:
        return time.monotonic() - self.started

    async def run(self, clients: int) -> None:
        """Load, look and spoil until the time is up; then end in order."""
        watching = asyncio.create_task(self._watch())
        load = {"clients": clients // len(self.lives), "seconds": self.seconds}
        async with asyncio.TaskGroup() as tasks:
            for seed, each in enumerate(self.lives):
                address = each.replica.address
                tasks.create_task(loaded(address, each.figures, seed=seed, **load))
            tasks.create_task(self._spoil())
        watching.cancel()
        for each in self.lives:
            await each.stop()

    async def _watch(self) -> None:
        while True:
            for each in self.lives:
                each.look()
            await asyncio.sleep(MEMORY_SECONDS)

    async def _spoil(self) -> None:
        """A fault every so often, as long as there is time for it to pass."""
        for number, (name, fault) in enumerate(self._plan()):
            due = (number + 0.5) * FAULT_SECONDS
            if due > self.seconds - FAULT_SECONDS / 2:
                return
            await asyncio.sleep(max(0.0, due - self.passed))
            self.faults.append((self.passed, name))
            print(f"{self.passed:6.0f} s  {name}", flush=True)
            await fault()

    def _plan(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        first, second = self.lives
        harsh = itertools.cycle(
            [
                (f"SIGTERM {first.name}", lambda: self._restart(first, first.stop)),
                (f"SIGKILL {second.name}", lambda: self._restart(second, second.kill)),
                (f"SIGTERM {second.name}", lambda: self._restart(second, second.stop)),
                (f"SIGKILL {first.name}", lambda: self._restart(first, first.kill)),
            ]
        )
        gentle = itertools.cycle(
            [
                *((f"redis {name}", lambda name=name: self._spoil_redis(name)) for name in FAULTS),
                ("a client vanishes", lambda: self._vanish(first)),
                ("a client vanishes", lambda: self._vanish(second)),
            ]
        )
        while True:
            yield next(gentle)
            if self.passed + FAULT_SECONDS < self.seconds / 2:
                yield next(harsh)

    async def _restart(self, lives: Lives, end: Callable[[], Awaitable[None]]) -> None:
        await end()
        await asyncio.sleep(1)
        await lives.start()

    async def _spoil_redis(self, name: str) -> None:
        with FAULTS[name](self.redis):
            await asyncio.sleep(OUTAGE_SECONDS)

    async def _vanish(self, lives: Lives) -> None:
        command = (sys.executable, vanishing_client.__file__, lives.replica.address)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        await asyncio.to_thread(process.stdout.readline)
        process.kill()
        process.communicate()

    def report(self) -> dict[str, Any]:
        """Everything, for JSON."""
        since = self.started + 2 * self.seconds / 3
        return {
            "seconds": self.seconds,
            "faults": [{"at_seconds": round(at, 1), "fault": name} for at, name in self.faults],
            "replicas": {
                each.name: {
                    "lost": each.lost,
                    "memory_growth_mb_per_minute": each.growth(since),
                    "memory_mb": [round(size / 2**20, 1) for _, size in each.memory],
                    **each.figures.report(self.seconds),
                }
                for each in self.lives
            },
        }


def failures(report: dict[str, Any]) -> Iterator[str]:
    """What of a report should not be."""
    for name, found in report["replicas"].items():
        growth = found["memory_growth_mb_per_minute"]
        foreign = set(found["statuses"]) - ALLOWED
        claims = {
            "was never asked": not found["statuses"].get("OK"),
            f"gave wrong answers: {found['wrong']}": found["wrong"],
            f"let {found['hung']} requests hang, {found['late']} late": found["hung"]
            + found["late"],
            f"lost {found['lost']} accepted requests": found["lost"],
            f"gave statuses {foreign}": foreign,
            f"grows by {growth:.2f} MB a minute": growth >= MEGABYTES_A_MINUTE,
        }
        yield from (f"{name} {claim}" for claim, holds in claims.items() if holds)


async def soak(seconds: float, clients: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory, running_redis() as redis:
        flags = ("--redis-url", redis.proxy.url, *FLAGS)
        lives = [Lives(name, Replica(Path(directory) / name, *flags)) for name in "AB"]
        try:
            await asyncio.gather(*(each.start() for each in lives))
            run = Soak(redis, lives, seconds)
            await run.run(clients)
            return run.report()
        finally:
            for each in lives:
                each.replica.kill()


def main(
    duration: Annotated[float, typer.Option(min=60, help="Seconds.")] = 600,
    clients: Annotated[int, typer.Option(min=2, help="Of both replicas together.")] = 200,
    json_file: Annotated[Path, typer.Option("--json")] = Path("soak.json"),
) -> None:
    """Exit code 1 where anything was not as it should be."""
    report = asyncio.run(soak(duration, clients))
    report["failures"] = list(failures(report))
    json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, found in report["replicas"].items():
        latency = found["latency_seconds"]["all"]
        print(
            f"{name}: {found['requests']} requests, {found['statuses']}, cache {found['cache']}, "
            f"p50 {1000 * latency['p50']:.0f} ms, p99 {1000 * latency['p99']:.0f} ms, "
            f"memory {found['memory_growth_mb_per_minute']:+.2f} MB a minute, lost {found['lost']}"
        )
    print(f"{len(report['faults'])} faults; everything is in {json_file}")
    for failure in report["failures"]:
        print(f"FAILED: {failure}")
    sys.exit(bool(report["failures"]))


if __name__ == "__main__":
    typer.run(main)
