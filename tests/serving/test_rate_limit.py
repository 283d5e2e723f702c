"""Requests a second of each caller, by a clock that stands still until it is told."""

from pathlib import Path

import grpc
import pytest
from certificates import Certificates
from echo_server import Running, running
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dialog_service.client import AsyncDialogClient, CallFailed
from dialog_service.errors import Overloaded
from dialog_service.serving import rate_limit
from dialog_service.serving.rate_limit import RateLimit
from dialog_service.v1 import dialog_pb2 as pb

REQUEST = pb.GenerateRepliesRequest(turns=[pb.Turn(text="hello")])


class Clock:
    """The time, in seconds."""

    def __init__(self) -> None:
        self.now = 86_400.3

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limit(per_second: float | None, clock: Clock) -> RateLimit:
    return RateLimit(per_second, lambda: None, clock)


def taken(limit: RateLimit, caller: str = "shop") -> int:
    """Requests that pass until one is refused."""
    for count in range(1000):
        try:
            limit.take(caller)
        except Overloaded:
            return count
    return 1000


@pytest.mark.parametrize(
    ("per_second", "at_once"), [(1, 1), (3, 3), (7, 7), (10, 10), (300, 300), (0.5, 1)]
)
def test_a_seconds_worth_passes_at_once_and_again_after_a_rest(
    per_second: float, at_once: int, clock: Clock
):
    limited = limit(per_second, clock)
    assert taken(limited) == at_once
    clock.now += 1 / per_second
    assert taken(limited) == 1
    clock.now += 3600
    assert taken(limited) == at_once


def test_over_a_long_time_the_rate_holds(clock: Clock):
    limited = limit(4, clock)
    passed = 0
    for _ in range(1000):
        clock.now += 0.01
        passed += taken(limited)
    assert passed == pytest.approx(4 * 10 + 4, abs=1)


def test_a_refusal_says_when_to_come_back_and_costs_nothing(clock: Clock):
    refusals = []
    limited = RateLimit(2, lambda: refusals.append(1), clock)
    assert taken(limited) == 2
    for _ in range(5):
        with pytest.raises(Overloaded, match="2 requests a second") as refused:
            limited.take("shop")
        assert refused.value.retry_after_seconds == pytest.approx(0.5)
    assert len(refusals) == 6
    clock.now += refused.value.retry_after_seconds
    limited.take("shop")


def test_callers_do_not_spend_what_is_anothers(clock: Clock):
    limited = limit(2, clock)
    assert taken(limited, "shop") == 2
    assert taken(limited, "bank") == 2


def test_a_batch_passes_whole_and_is_waited_for_afterwards(clock: Clock):
    limited = limit(4, clock)
    limited.take("shop", 64)
    with pytest.raises(Overloaded) as refused:
        limited.take("shop")
    assert refused.value.retry_after_seconds == pytest.approx((64 - 3) / 4)


def test_without_a_limit_everything_passes(clock: Clock):
    assert taken(limit(None, clock)) == 1000


def test_callers_at_rest_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rate_limit, "_CALLERS_KEPT", 10)
    limited = limit(1, clock)
    limited.take("slow", 1000)
    for number in range(100):
        limited.take(f"caller {number}")
        clock.now += 0.5
    assert len(limited._paid_at) <= 10
    assert taken(limited, "slow") == 0


async def refusal(service: Running, token: str = "") -> grpc.aio.AioRpcError | None:
    """How a call was refused, if it was."""
    metadata = [("authorization", f"Bearer {token}")] if token else None
    try:
        await service.stub.GenerateReplies(REQUEST, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_a_caller_is_refused_with_a_hint_and_answered_later(clock: Clock):
    async with running(rate_limit_rps=2, clock=clock) as service:
        assert [await refusal(service) for _ in range(2)] == [None, None]
        refused = await refusal(service)
        assert refused is not None
        assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        hint = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(refused).details[0].Unpack(hint)
        assert hint.retry_delay.ToMilliseconds() == pytest.approx(500, abs=1)
        assert service.metric("dialog_requests_shed_total", reason="rate_limit") == 1
        assert len(service.model.finished) == 2
        clock.now += 0.5
        assert await refusal(service) is None


async def test_callers_are_told_apart_by_their_tokens(clock: Clock, tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text("shop\nbank\n")
    async with running(rate_limit_rps=1, clock=clock, auth_tokens_file=tokens) as service:
        ends = [await refusal(service, token) for token in ("shop", "shop", "bank", "thief")]
    codes = [end and end.code().name for end in ends]
    assert codes == [None, "RESOURCE_EXHAUSTED", None, "UNAUTHENTICATED"]


async def test_callers_are_told_apart_by_their_certificates(clock: Clock, tmp_path: Path):
    made = Certificates(tmp_path)
    ends = []
    async with running(rate_limit_rps=1, clock=clock, **made.mutual) as service:
        for own in (made.client, made.client, made.elsewhere):
            async with AsyncDialogClient(service.addresses.grpc, tls=made.tls(own)) as client:
                try:
                    await client.list_models()
                    ends.append("OK")
                except CallFailed as error:
                    ends.append(error.status)
    assert ends == ["OK", "RESOURCE_EXHAUSTED", "OK"]


async def test_a_batch_counts_as_the_requests_in_it_and_a_stream_as_one(clock: Clock):
    async with running(rate_limit_rps=3, clock=clock) as service:
        batch = pb.BatchGenerateRepliesRequest(requests=[REQUEST] * 6)
        results = (await service.stub.BatchGenerateReplies(batch)).results
        assert all(result.response.replies for result in results)
        assert await refusal(service)
        clock.now += 6 / 3
        for _ in range(3):
            async for _ in service.stub.StreamReplies(pb.StreamRepliesRequest(request=REQUEST)):
                pass
        assert await refusal(service)
        clock.now += 3600
        empty = pb.BatchGenerateRepliesRequest(requests=[pb.GenerateRepliesRequest()] * 9999)
        with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
            await service.stub.BatchGenerateReplies(empty)
        clock.now += 64 / 3
        assert await refusal(service) is None
