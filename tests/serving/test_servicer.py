"""The API over real gRPC, answered by a model that echoes."""

import asyncio
import math

import grpc
import pytest
from echo_server import EchoModel, running
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dialog_service.v1 import dialog_pb2 as pb


def texts(response: pb.GenerateRepliesResponse) -> list[str]:
    return [reply.text for reply in response.replies]


async def failure(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


def detail(error: grpc.aio.AioRpcError, kind: type):
    found = kind()
    status = rpc_status.from_call(error)
    assert status is not None
    assert any(one.Unpack(found) for one in status.details)
    return found


async def test_a_response_says_all_there_is_to_say():
    async with running() as service:
        response = await service.ask(reply_count=3)
    assert len(set(texts(response))) == 3
    assert all(text.startswith("hello / ") for text in texts(response))
    first = response.replies[0]
    assert (first.log_prob_nats, first.token_count) == (-2.5, 7)
    assert first.finish_reason == pb.FINISH_REASON_END
    assert response.model_version == "models/echo/versions/1"
    assert response.cache.status == pb.CACHE_STATUS_BYPASS
    assert response.diversity.unique_replies == 3
    assert response.diversity.distinct_1 == pytest.approx(5 / 9)  # hello, / and three numbers
    assert response.diversity.distinct_2 == pytest.approx(4 / 6)
    assert response.timing.queue.ToNanoseconds() > 0
    assert response.timing.inference.ToNanoseconds() > 0
    assert not response.context_truncated


async def test_what_is_asked_for_reaches_the_model():
    model = EchoModel()
    sampling = pb.Sampling(
        temperature=0.7,
        top_k=9,
        top_p=0.6,
        max_tokens=11,
        latent_scale=1.5,
        stop=["bye", "Bye"],
        seed=0,
    )
    async with running(model) as service:
        await service.ask("how are you?", reply_count=2, sampling=sampling)
    [[request]] = model.batches
    assert request.turns == ("how are you?",)
    assert (request.reply_count, request.seed) == (2, 0)
    asked = request.sampling
    assert (asked.temperature, asked.top_k, asked.top_p) == (0.7, 9, 0.6)
    assert (asked.max_tokens, asked.latent_scale) == (11, 1.5)
    assert asked.stop == ("bye", "Bye")


async def test_the_last_turns_are_used_and_the_cut_is_said():
    model = EchoModel()
    async with running(model) as service:
        turns = [pb.Turn(speaker="a", text=f"turn {number}") for number in range(3)]
        request = pb.GenerateRepliesRequest(turns=turns)
        response = await service.stub.GenerateReplies(request)
        long = await service.ask("long " * 60)
    assert model.batches[0][0].turns == ("turn 1", "turn 2")
    assert response.context_truncated
    assert long.context_truncated


async def test_the_same_seed_gives_the_same_replies_amid_31_other_requests():
    seeded = {"reply_count": 10, "sampling": pb.Sampling(seed=42)}
    async with running(max_batch_sequences=48) as service:
        alone = await service.ask("tell me more", **seeded)
        others = [service.ask(f"other {n}", reply_count=1 + n % 9) for n in range(31)]
        amid, *_ = await asyncio.gather(service.ask("tell me more", **seeded), *others)
        five = await service.ask("tell me more", reply_count=5, sampling=pb.Sampling(seed=42))
    assert texts(amid) == texts(alone)
    assert texts(five) == texts(alone)[:5]
    assert alone.seed == 42


async def test_without_a_seed_replies_differ_and_the_seed_returned_gives_them_again():
    async with running() as service:
        first, second = await service.ask(), await service.ask()
        assert texts(first) != texts(second)
        again = await service.ask(sampling=pb.Sampling(seed=first.seed))
    assert texts(again) == texts(first)


async def test_fewer_replies_than_asked_for_are_neither_padded_nor_an_error():
    async with running(EchoModel(variety=3)) as service:
        response = await service.ask(reply_count=10)
    assert len(set(texts(response))) == len(texts(response)) == 3
    assert response.diversity.unique_replies == 3


async def test_every_violated_field_is_named_and_the_server_goes_on():
    async with running() as service:
        request = pb.GenerateRepliesRequest(
            turns=[pb.Turn(text=""), pb.Turn(text="bell \x07")],
            reply_count=10_000,
            sampling=pb.Sampling(temperature=math.nan, top_p=0.0, seed=-1),
            cache_mode=99,
            selection=pb.Selection(strategy=77),
        )
        error = await failure(service.stub.GenerateReplies(request))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        violations = detail(error, error_details_pb2.BadRequest).field_violations
        assert [violation.field for violation in violations] == [
            "turns[0].text",
            "turns[1].text",
            "reply_count",
            "sampling.temperature",
            "sampling.top_p",
            "sampling.seed",
            "selection.strategy",
            "cache_mode",
        ]
        assert len(texts(await service.ask())) == 5


@pytest.mark.parametrize(
    "request_",
    [
        pb.GenerateRepliesRequest(),
        pb.GenerateRepliesRequest(turns=[pb.Turn(text="")]),
        pb.GenerateRepliesRequest(turns=[pb.Turn(text="a" * 1024 * 1024)]),
        pb.GenerateRepliesRequest(turns=[pb.Turn(text="hi")], reply_count=0),
        pb.GenerateRepliesRequest(turns=[pb.Turn(text="\x00" * 3)] * 2000),
    ],
    ids=["nothing", "empty", "megabyte", "zero", "thousands"],
)
async def test_requests_that_cannot_be_answered(request_: pb.GenerateRepliesRequest):
    async with running() as service:
        error = await failure(service.stub.GenerateReplies(request_))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert detail(error, error_details_pb2.BadRequest).field_violations
        assert texts(await service.ask())


async def test_a_message_of_millions_of_turns_holds_nobody_up():
    async with running() as service:
        call = service.channel.unary_unary("/dialog_service.v1.DialogService/GenerateReplies")
        error = await failure(call(b"\x12\x00" * 2_000_000, timeout=30))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named():
    async with running() as service:
        for call in (
            service.ask(model="models/absent"),
            service.stub.GetModel(pb.GetModelRequest(name="models/echo/versions/2")),
            service.stub.GetDiversity(pb.GetDiversityRequest(model="nonsense")),
        ):
            error = await failure(call)
            assert error.code() == grpc.StatusCode.NOT_FOUND
            assert "models/echo/versions/1" in error.details()


async def test_a_full_queue_is_resource_exhausted_and_says_when_to_come_back():
    model = EchoModel()
    async with running(model, queue_capacity_sequences=32, max_batch_sequences=1) as service:
        model.hold()
        first = asyncio.create_task(service.ask("first"))
        while not model.batches:
            await asyncio.sleep(0.001)
        waiting = asyncio.create_task(service.ask("second", reply_count=30))
        while service.metric("dialog_queue_depth_sequences") < 30:
            await asyncio.sleep(0.001)
        error = await failure(service.ask("third"))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        delay = detail(error, error_details_pb2.RetryInfo).retry_delay
        assert delay.ToNanoseconds() > 0
        model.release()
        assert [len(texts(await task)) for task in (first, waiting)] == [5, 30]
        assert service.metric("dialog_requests_shed_total", reason="queue_full") == 1


async def test_a_callers_deadline_drops_the_work():
    model = EchoModel()
    async with running(model) as service:
        model.hold()
        request = pb.GenerateRepliesRequest(turns=[pb.Turn(text="slow")])
        for seconds in (0.1, 1.0, 10.0, 60.0):  # as long as a busy machine needs to begin
            error = await failure(service.stub.GenerateReplies(request, timeout=seconds))
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            if model.has_begun:
                break
        while service.metric("dialog_requests_cancelled_total", stage="inference") < 1:
            await asyncio.sleep(0.001)
        model.release()
        await service.ask("next")
    assert [request.turns for request in model.finished] == [("next",)]


async def test_the_servers_own_deadline_is_for_those_who_bring_none():
    model = EchoModel()
    async with running(model, default_deadline_seconds=0.1) as service:
        model.hold()
        request = pb.GenerateRepliesRequest(turns=[pb.Turn(text="slow")])
        error = await failure(service.stub.GenerateReplies(request))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        calls = {"method": "GenerateReplies", "code": "DEADLINE_EXCEEDED"}
        assert service.metric("dialog_requests_total", **calls) == 1


async def test_work_of_a_caller_who_left_is_dropped():
    model = EchoModel()
    async with running(model) as service:
        model.hold()
        call = asyncio.create_task(service.ask("gone"))
        while not model.batches:
            await asyncio.sleep(0.001)
        call.cancel()
        while service.metric("dialog_requests_cancelled_total", stage="inference") < 1:
            await asyncio.sleep(0.001)
        model.release()
        await service.ask("next")
        calls = {"method": "GenerateReplies", "code": "CANCELLED"}
        assert service.metric("dialog_requests_total", **calls) == 1
    assert [request.turns for request in model.finished] == [("next",)]


async def test_a_model_that_fails_fails_only_the_guilty_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
):
    async with running(max_wait_seconds=0.05) as service:
        bad = asyncio.create_task(failure(service.ask("poison")))
        good = await asyncio.gather(*(service.ask(f"say {n}") for n in range(5)))
        error = await bad
    assert all(texts(answer)[0].startswith(f"say {n}") for n, answer in enumerate(good))
    assert error.code() == grpc.StatusCode.INTERNAL
    request_id = dict(error.trailing_metadata())["x-request-id"]
    assert error.details() == f"internal error; request id {request_id}"
    assert "a secret of the model" in caplog.text
    assert request_id in {getattr(record, "request_id", None) for record in caplog.records}


async def test_models_are_described():
    async with running(max_replies=7) as service:
        [model] = (await service.stub.ListModels(pb.ListModelsRequest())).models
        default = await service.stub.GetModel(pb.GetModelRequest())
        named = await service.stub.GetModel(pb.GetModelRequest(name="models/echo"))
    assert default.model == named.model == model
    assert (model.name, model.version) == ("models/echo", "models/echo/versions/1")
    assert model.is_default
    assert (model.variant, model.preset, model.corpus) == ("echo", "none", "nothing")
    assert model.vocabulary_size == 1000
    assert (model.limits.context_turns, model.limits.context_tokens) == (2, 20)
    assert (model.limits.reply_tokens, model.limits.reply_count) == (40, 7)
    assert model.default_sampling.max_tokens == 40
    assert model.training.commit == "abc"
    assert dict(model.training.metrics) == {"nll": 1.5}


async def test_live_figures_count_every_reply():
    async with running() as service:
        for _ in range(4):
            await service.ask(reply_count=5)
        figures = await service.stub.GetDiversity(pb.GetDiversityRequest())
        assert service.metric("dialog_replies_total") == 20
    assert figures.model_version == "models/echo/versions/1"
    [window] = [window for window in figures.windows if window.window_tokens]
    assert (window.scope, window.source) == (pb.DIVERSITY_SCOPE_REPLICA, pb.REPLY_SOURCE_FRESH)
    assert window.window_tokens == 60  # "hello", "/" and a number, twenty times
    assert window.distinct_1 == pytest.approx(22 / 60)
    assert window.distinct_2 == pytest.approx(21 / 40)
    assert not window.is_full


async def test_no_answer_is_ever_anothers():
    limits = {"max_batch_sequences": 13, "queue_capacity_sequences": 2000}
    async with running(**limits) as service:

        async def ask(number: int) -> bool:
            response = await service.ask(f"say {number}", reply_count=1 + number % 7)
            told = all(text.startswith(f"say {number} / ") for text in texts(response))
            return told and len(texts(response)) == 1 + number % 7

        assert all(await asyncio.gather(*(ask(number) for number in range(300))))
