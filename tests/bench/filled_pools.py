"""A Redis whose pools are all full, so that for a while answers need no model.

A candidate leaves its pool when it has been served three times, so a steady load on a few
utterances keeps the model busy filling up. Here each of many utterances has a pool of its own, as
full as pools grow, and is asked for twice: nothing can be served a third time, no pool loses a
candidate, so none grows. Every answer is held against that afterwards.
"""

import asyncio
import contextlib
import itertools
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forced_checkpoint import words
from over_the_wire import Ask, NothingLeft, bytes_call

from dialog_service.generation import Candidate, GenerationRequest
from dialog_service.load.workload import UTTERANCES
from dialog_service.serving.cache import CandidatePools
from dialog_service.serving.checkpoint_places import Location, load_model
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.pools import Origin, PoolKey, PoolSettings
from dialog_service.serving.registry import LoadedModel
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from redis_process import RedisProcess

RULES = PoolSettings(timeout_seconds=10.0)
SERVINGS = RULES.retire_after - 1  # of every pool: the most at which none can lose a candidate
FULL = PoolKey("full")  # which no service asks for; the others are copies of it
METHOD = "/dialog_service.v1.DialogService/GenerateReplies"


@contextlib.contextmanager
def running_redis() -> Iterator[RedisProcess]:
    """A Redis of one's own, for as long as a block lasts."""
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:  # short: it holds a socket
        server = RedisProcess(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.kill()


@dataclass(frozen=True, slots=True)
class FilledPools:
    """Full pools of a model in a Redis, one for each of some utterances, of the same replies."""

    server: RedisProcess
    keys: Sequence[PoolKey]
    utterances: Sequence[str]

    @classmethod
    def make(cls, server: RedisProcess, count: int, checkpoint: Path) -> "FilledPools":
        """So many pools of a checkpoint that is served with its own sampling; ``fill`` fills them.

        One is filled by the service's own cache, with replies of the model.
        """
        model = load_model(Location(directory=checkpoint), Settings())
        version = f"{model.version_name}@{model.fingerprint}"
        said = [f"{UTTERANCES[n % len(UTTERANCES)]} {word}" for n, word in enumerate(words(count))]
        keys = [PoolKey.of(version, (each,), model.generator.defaults) for each in said]
        asyncio.run(_add(server.url, _candidates(model)))
        return cls(server, keys, said)

    def fill(self) -> None:
        """Make every pool full, with nothing served."""
        with self.server.client as client, client.pipeline(transaction=False) as pipe:
            for key in self.keys:
                for full, name in zip(FULL.both, key.both, strict=True):
                    pipe.copy(full, name, replace=True)
            pipe.execute()

    def deck(self, replies: int) -> deque[bytes]:
        """A request for each serving, in an order that leaves time between two of one pool."""
        once = [
            pb.GenerateRepliesRequest(turns=[pb.Turn(text=text)], reply_count=replies)
            for text in self.utterances
        ]
        return deque([request.SerializeToString() for request in once] * SERVINGS)


def _candidates(model: LoadedModel) -> Sequence[Candidate]:
    """As many different ones as a pool holds."""
    found: dict[str, Candidate] = {}
    for seed, text in enumerate(UTTERANCES):
        request = GenerationRequest(
            turns=(text,), reply_count=RULES.capacity, sampling=model.generator.defaults, seed=seed
        )
        [result] = model.generator.generate([request])
        found.update((each.text, each) for each in result.candidates)
        if len(found) >= RULES.capacity:
            break
    return list(found.values())[: RULES.capacity]


async def _add(url: str, candidates: Sequence[Candidate]) -> None:
    pools = CandidatePools(url, RULES, Metrics())
    await pools.start()
    await pools.add(FULL, candidates, Origin.GROWTH)
    await pools.close()


class Answers:
    """What was answered from pools, and whether it was."""

    def __init__(self, addresses: Sequence[str], deck: deque[bytes]) -> None:
        """Of a service, over whose addresses clients are spread; each request is sent once."""
        self._turns = itertools.cycle(addresses)
        self._deck = deck
        self._answers: list[bytes] = []

    def connect(self) -> Ask:
        """A client that sends the next request of the deck; for ``closed_loop``."""
        call = bytes_call(next(self._turns), METHOD)

        async def ask() -> None:
            if not self._deck:
                raise NothingLeft
            self._answers.append(await call(self._deck.popleft()))

        return ask

    @property
    def pooled_share(self) -> float:
        """Answers that came whole from a pool that was full."""
        answers = [pb.GenerateRepliesResponse.FromString(each).cache for each in self._answers]
        full = pb.CacheInfo(status=pb.CACHE_STATUS_HIT, pool_size=RULES.capacity)
        return answers.count(full) / max(1, len(answers))
