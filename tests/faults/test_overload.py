"""More than a replica can take, and callers who do not wait: queue and memory stay bounded."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest
import vanishing_client
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from load import until
from replica import Replica, echoes

from dialog_service.client import AsyncDialogClient
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

pytestmark = pytest.mark.timeout(400)  # processes are slow to start on a busy machine

CAPACITY, BATCH = 64, 8  # sequences
LIMITS = {"--queue-capacity-sequences": CAPACITY, "--max-batch-sequences": BATCH}
MODEL_SECONDS = 0.4
CONNECTIONS = 10


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    flags = [str(part) for pair in LIMITS.items() for part in pair]
    log = tmp_path_factory.mktemp("replica") / "log"
    replica = Replica(log, "--redis-url", "off", *flags, model_seconds=MODEL_SECONDS)
    replica.start()
    yield replica
    replica.kill()


async def test_the_work_of_a_client_that_vanishes_is_dropped(replica: Replica):
    process = subprocess.Popen(
        (sys.executable, vanishing_client.__file__, replica.address),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "under way\n"
    process.kill()
    process.wait()
    process.stdout.close()
    # How many calls the client had sent when it was killed is its own affair.
    await until(lambda: "CANCELLED" in replica.codes())
    await until(lambda: replica.metric("dialog_queue_depth_sequences") == 0)
    assert set(replica.codes()) <= {"OK", "CANCELLED"}
    stages = ("queue", "inference")
    dropped = [replica.metric("dialog_requests_cancelled_total", stage=each) for each in stages]
    assert sum(filter(None, dropped)) > 0
    async with AsyncDialogClient(replica.address) as client:
        assert (await client.ask("who is left?")).replies


def retry_seconds(error: grpc.aio.AioRpcError) -> float:
    """When to try again, by the details of a status; 0 where they do not say."""
    hint = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    is_told = any([detail.Unpack(hint) for detail in (status.details if status else ())])
    return hint.retry_delay.ToTimedelta().total_seconds() if is_told else 0.0


async def ask(channel: grpc.aio.Channel, text: str) -> str:
    """The status of one call, which must be right or say when to try again."""
    request = pb.GenerateRepliesRequest(
        turns=[pb.Turn(text=text)], reply_count=1, cache_mode=pb.CACHE_MODE_BYPASS
    )
    stub = dialog_pb2_grpc.DialogServiceStub(channel)
    try:
        response = await stub.GenerateReplies(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        return error.code().name if retry_seconds(error) > 0 else "NO RETRY INFO"
    return echoes(request, response) or "OK"


async def test_ten_times_what_the_queue_holds_is_refused_or_answered(replica: Replica):
    before, memory = replica.codes(), replica.resident_bytes()
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(replica.address, own) for _ in range(CONNECTIONS)]
    calls = [
        asyncio.create_task(ask(channels[number % CONNECTIONS], f"number {number}"))
        for number in range(10 * CAPACITY)
    ]
    deepest = 0.0
    while not all(call.done() for call in calls):
        depth = await asyncio.to_thread(replica.metric, "dialog_queue_depth_sequences")
        deepest = max(deepest, depth)
    ends = Counter([await call for call in calls])
    for channel in channels:
        await channel.close()
    assert set(ends) == {"OK", "RESOURCE_EXHAUSTED"}
    assert ends["OK"] >= CAPACITY
    assert ends["RESOURCE_EXHAUSTED"] > CAPACITY
    assert 0 < deepest <= CAPACITY
    assert replica.codes() - before == ends  # what the replica took it answered
    shed = replica.metric("dialog_requests_shed_total", reason="queue_full")
    assert shed == ends["RESOURCE_EXHAUSTED"]
    assert replica.resident_bytes() - memory < 64 * 2**20
