"""Batches, the queue, deadlines, cancellation, and the lane for idle time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from echo_server import EchoModel

from dialog_service.errors import DeadlinePassed, GenerationFailed, NotReady, Overloaded
from dialog_service.generation import Candidate, GenerationRequest, SamplingParameters
from dialog_service.serving.batcher import Batcher, BatchLimits, Generated
from dialog_service.serving.metrics import Metrics


@contextlib.asynccontextmanager
async def batching(
    model: EchoModel, metrics: Metrics | None = None, **limits: float
) -> AsyncIterator[Batcher]:
    chosen = BatchLimits(**{"max_wait_seconds": 0.01, **limits})
    batcher = Batcher(model, chosen, metrics or Metrics())
    batcher.start()
    try:
        yield batcher
    finally:
        model.release()
        await batcher.close()


def request(text: str = "hello", *, count: int = 1, seed: int = 1) -> GenerationRequest:
    return GenerationRequest(
        turns=(text,), reply_count=count, sampling=SamplingParameters(), seed=seed
    )


def submit(batcher: Batcher, asked: GenerationRequest, seconds: float = 60.0) -> asyncio.Task:
    deadline = asyncio.get_running_loop().time() + seconds
    return asyncio.create_task(batcher.submit(asked, deadline=deadline))


def submit_background(batcher: Batcher, asked: GenerationRequest) -> asyncio.Task:
    deadline = asyncio.get_running_loop().time() + 60.0
    return asyncio.create_task(batcher.submit_background(asked, deadline=deadline))


async def held(
    batcher: Batcher, model: EchoModel, asked: GenerationRequest, by=submit
) -> asyncio.Task:
    """A request that is under way, and gets no further before ``model.release``."""
    model.hold()
    task = by(batcher, asked)
    await until(lambda: model.has_begun)
    return task


def sizes(model: EchoModel) -> list[list[int]]:
    return [[one.reply_count for one in batch] for batch in model.batches]


def texts(generated: Generated) -> list[str]:
    return [candidate.text for candidate in generated.result.candidates]


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_requests_that_come_together_share_a_batch():
    model = EchoModel()
    async with batching(model) as batcher:
        await asyncio.gather(*(submit(batcher, request(f"say {n}")) for n in range(10)))
    assert sizes(model) == [[1] * 10]


async def test_everyone_gets_the_answer_to_their_own_words():
    model = EchoModel()
    async with batching(model, max_batch_sequences=7) as batcher:
        asked = [request(f"say {n}", count=1 + n % 5, seed=n) for n in range(100)]
        answers = await asyncio.gather(*(submit(batcher, one) for one in asked))
    for one, answer in zip(asked, answers, strict=True):
        assert len(answer.result.candidates) == one.reply_count
        assert all(text.startswith(f"{one.turns[0]} / ") for text in texts(answer))


async def test_a_batch_counts_sequences_and_not_requests():
    model = EchoModel()
    async with batching(model, max_batch_sequences=8) as batcher:
        await asyncio.gather(*(submit(batcher, request(count=4)) for _ in range(3)))
    assert sizes(model) == [[4, 4], [4]]


@pytest.mark.parametrize("count", [1, 5])
async def test_batches_of_one_sequence_work_and_larger_requests_run_alone(count):
    model = EchoModel()
    async with batching(model, max_batch_sequences=1) as batcher:
        await asyncio.gather(*(submit(batcher, request(count=count)) for _ in range(3)))
    assert sizes(model) == [[count]] * 3


async def test_a_full_batch_does_not_wait():
    loop = asyncio.get_running_loop()
    async with batching(EchoModel(), max_batch_sequences=4, max_wait_seconds=60) as batcher:
        started = loop.time()
        await asyncio.gather(*(submit(batcher, request(count=2)) for _ in range(2)))
    assert loop.time() - started < 30


async def test_who_was_alone_before_does_not_wait_but_who_had_company_does():
    model = EchoModel()
    async with batching(model, max_wait_seconds=60, max_batch_sequences=64) as batcher:
        await submit(batcher, request(count=64))  # a full batch, alone
        async with asyncio.timeout(30):
            await submit(batcher, request())
            await asyncio.gather(submit(batcher, request()), submit(batcher, request()))
        first = submit(batcher, request())
        await asyncio.sleep(0.05)
        await asyncio.gather(first, submit(batcher, request(count=63)))  # full, and so soon
    assert sizes(model) == [[64], [1], [1, 1], [1, 63]]


async def test_the_wait_is_counted_from_the_first_request():
    model = EchoModel()
    async with batching(model, max_wait_seconds=0.3, max_batch_sequences=64) as batcher:
        first, _ = submit(batcher, request()), submit(batcher, request())
        while not first.done():  # would postpone a wait that is counted from the last one
            await asyncio.sleep(0.04)
            submit(batcher, request())
        assert first.result().queue_seconds >= 0.29
        assert 2 <= len(model.batches[0]) < 64  # or it had begun when it was full


async def test_a_full_queue_refuses_at_once_and_only_the_newcomer():
    model = EchoModel()
    async with batching(model, queue_capacity_sequences=10, max_batch_sequences=2) as batcher:
        running = await held(batcher, model, request("first", count=2))
        waiting = [submit(batcher, request(count=5)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refusal:
            await submit(batcher, request("one too many"))
        assert refusal.value.retry_after_seconds > 0
        model.release()
        answers = await asyncio.gather(running, *waiting)
    assert [len(texts(answer)) for answer in answers] == [2, 5, 5]


async def test_the_depth_is_that_of_every_queue_together():
    metrics, models = Metrics(), (EchoModel(), EchoModel())
    async with batching(models[0], metrics) as one, batching(models[1], metrics) as other:
        batchers = zip((one, other), models, strict=True)
        under_way = [await held(*each, request(count=9)) for each in batchers]
        waiting = [submit(one, request(count=3)), submit(other, request(count=4))]
        await until(lambda: depth(metrics) == 7)
        for model in models:
            model.release()
        await asyncio.gather(*under_way, *waiting)
    assert depth(metrics) == 0


def depth(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("dialog_queue_depth_sequences")


async def test_work_cancelled_in_the_queue_never_reaches_the_model_and_frees_its_place():
    model, metrics = EchoModel(), Metrics()
    limits = {"queue_capacity_sequences": 1, "max_batch_sequences": 1}
    async with batching(model, metrics, **limits) as batcher:
        running = await held(batcher, model, request("first"))
        gone = submit(batcher, request("gone"))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        last = submit(batcher, request("last"))  # there is room for it again
        model.release()
        await asyncio.gather(running, last)
        assert cancelled(metrics, "queue") == 1
    assert [batch[0].turns for batch in model.batches] == [("first",), ("last",)]


async def test_work_cancelled_in_a_batch_leaves_it_and_its_mates_stay():
    model, metrics = EchoModel(), Metrics()
    async with batching(model, metrics, max_wait_seconds=0.05) as batcher:
        model.hold()
        gone, stays = submit(batcher, request("gone")), submit(batcher, request("stays"))
        await until(lambda: model.batches)
        gone.cancel()
        await asyncio.sleep(0.02)
        model.release()
        assert texts(await stays)[0].startswith("stays")
        assert cancelled(metrics, "inference") == 1
    assert [one.turns for one in model.finished] == [("stays",)]


async def test_a_deadline_that_passes_in_the_queue_drops_the_work():
    model = EchoModel()
    async with batching(model, max_batch_sequences=1) as batcher:
        running = await held(batcher, model, request("first"))
        with pytest.raises(DeadlinePassed):
            await submit(batcher, request("late"), seconds=0.02)
        model.release()
        await running
    assert [batch[0].turns for batch in model.batches] == [("first",)]


async def test_a_deadline_that_passes_in_a_batch_ends_the_work():
    model = EchoModel()
    async with batching(model) as batcher:
        model.hold()
        while not model.has_begun:  # on a machine that stands still it passes in the queue
            with pytest.raises(DeadlinePassed):
                await submit(batcher, request("late"), seconds=0.05)
        await submit_and_release(batcher, model)
    assert [one.turns for one in model.finished] == [("next",)]


async def submit_and_release(batcher: Batcher, model: EchoModel) -> None:
    task = submit(batcher, request("next"))
    await until(lambda: len(model.batches) == 2)  # though the first batch was never released
    model.release()
    await task


async def test_one_bad_request_fails_alone():
    model = EchoModel()
    async with batching(model, max_wait_seconds=0.05) as batcher:
        good = [submit(batcher, request(f"good {n}")) for n in range(3)]
        bad = submit(batcher, request("poison"))
        for number, answer in enumerate(await asyncio.gather(*good)):
            assert texts(answer)[0].startswith(f"good {number}")
        with pytest.raises(GenerationFailed) as failure:
            await bad
    assert isinstance(failure.value.__cause__, RuntimeError)
    assert len(model.batches[0]) == 4


async def test_replies_are_told_in_the_loop_before_the_answer():
    model = EchoModel()
    model.early = 2
    told: list[tuple[int, str]] = []

    def on_reply(number: int, candidate: Candidate) -> None:
        asyncio.get_running_loop()  # raises in another thread
        told.append((number, candidate.text))

    async with batching(model) as batcher:
        model.hold()
        deadline = asyncio.get_running_loop().time() + 60
        asked = batcher.submit(request(count=4), deadline=deadline, on_reply=on_reply)
        answer = asyncio.create_task(asked)
        await until(lambda: len(told) == 2)
        assert not answer.done()
        model.release()
        assert told == list(enumerate(texts(await answer)))


class LateModel(EchoModel):
    """Finishes its replies, whether or not anybody still cares."""

    def generate(self, requests, is_abandoned, on_reply, company):
        return super().generate(requests, lambda _: False, on_reply, company)


async def test_whoever_has_gone_is_told_nothing():
    model = LateModel()
    told: list[int] = []
    async with batching(model) as batcher:
        model.hold()
        deadline = asyncio.get_running_loop().time() + 60
        listening = batcher.submit(
            request(), deadline=deadline, on_reply=lambda number, _: told.append(number)
        )
        gone, stays = asyncio.create_task(listening), submit(batcher, request("stays"))
        await until(lambda: model.batches)
        gone.cancel()
        await asyncio.sleep(0.02)
        model.release()
        await stays
    assert len(model.finished) == 2
    assert told == []


async def test_background_work_waits_until_nobody_else_does():
    model = EchoModel()
    async with batching(model, max_batch_sequences=1) as batcher:
        first = await held(batcher, model, request("first"))
        growth = submit_background(batcher, request("growth"))
        second = submit(batcher, request("second"))
        await asyncio.sleep(0)
        model.release()
        await asyncio.gather(first, growth, second)
    assert [one.turns[0] for one in model.finished] == ["first", "second", "growth"]


async def test_background_work_gives_way_and_starts_again():
    model, metrics = EchoModel(), Metrics()
    async with batching(model, metrics) as batcher:
        growth = await held(batcher, model, request("growth", count=3), submit_background)
        urgent = submit(batcher, request("urgent"))
        await until(lambda: len(model.batches) == 2)
        model.release()
        await urgent
        assert len(texts(await growth)) == 3
    for stage in ("queue", "inference"):  # figures of what somebody waits for
        counted = f"dialog_{stage}_duration_seconds_count"
        assert metrics.registry.get_sample_value(counted) == 1
    assert [batch[0].turns[0] for batch in model.batches] == ["growth", "urgent", "growth"]


async def test_closing_refuses_what_runs_what_waits_and_what_comes():
    model = EchoModel()
    async with batching(model, max_batch_sequences=1) as batcher:
        running = await held(batcher, model, request("running"))
        waiting = [submit(batcher, request("waiting")), submit_background(batcher, request("idle"))]
        await asyncio.sleep(0)
        await batcher.close()
        for task in (running, *waiting, submit(batcher, request("late"))):
            with pytest.raises(NotReady):
                await task


async def test_where_the_time_went():
    model = EchoModel()
    model.seconds = 0.05
    async with batching(model, max_batch_sequences=1, max_wait_seconds=0) as batcher:
        first, second = [submit(batcher, request(f"say {n}")) for n in range(2)]
        await asyncio.gather(first, second)
    assert first.result().inference_seconds >= 0.05
    assert second.result().queue_seconds >= max(0.05, first.result().queue_seconds)


def cancelled(metrics: Metrics, stage: str) -> float:
    name = "dialog_requests_cancelled_total"
    return metrics.registry.get_sample_value(name, {"stage": stage}) or 0.0


class SteppingModel(EchoModel):
    """One request is done after as many steps as it asks for replies; others join on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.most_under_way = 0
        self.steps = 0
        self.joined_at: list[int] = []
        self.holds_who_join = False

    @property
    def has_begun(self) -> bool:
        return self.steps > 0

    def generate(self, requests, is_abandoned, on_reply, company):
        self.batches.append(list(requests))
        asked, results = list(requests), {}
        left = {index: one.reply_count for index, one in enumerate(asked)}
        while left:
            under_way = sum(asked[index].reply_count for index in left)
            for one in company.joining(under_way):
                left[len(asked)] = one.reply_count
                asked.append(one)
                if self.holds_who_join:
                    self.hold()
                self.joined_at.append(self.steps)
            self.steps += 1
            under_way = sum(asked[index].reply_count for index in left)
            self.most_under_way = max(self.most_under_way, under_way)
            self._released.wait(60)
            time.sleep(0.001)
            for index in list(left):
                if is_abandoned(index):
                    results[index] = None
                    del left[index]
                    company.on_result(index, None)
                    continue
                if "poison" in asked[index].turns[-1]:
                    raise RuntimeError("a secret of the model")
                left[index] -= 1
                if not left[index]:
                    del left[index]
                    results[index] = self._result(asked[index])
                    company.on_result(index, results[index])
        return [results[index] for index in range(len(requests))]


async def test_requests_join_a_batch_under_way_and_leave_it_first():
    model = SteppingModel()
    async with batching(model) as batcher:
        long = await held(batcher, model, request("long", count=30))
        short = [submit(batcher, request(f"short {n}", seed=n)) for n in range(4)]
        await until(lambda: len(batcher._queue) == 4)
        ended: list[asyncio.Task] = []
        for task in (long, *short):
            task.add_done_callback(ended.append)
        model.release()
        for number, answer in enumerate(await asyncio.gather(*short)):
            assert texts(answer)[0].startswith(f"short {number} / ")
        assert len(texts(await long)) == 30
        assert ended == [*short, long]
    assert len(model.batches) == 1


async def test_one_beside_many_waits_four_steps_for_others_to_join_with():
    model = SteppingModel()
    async with batching(model) as batcher:
        many = await held(batcher, model, request("many", count=40))
        one = submit(batcher, request("one"))
        await until(lambda: batcher._queue)
        model.release()
        await asyncio.gather(one, many)
    assert model.joined_at == [5]


async def test_those_who_join_wait_for_room():
    model, metrics = SteppingModel(), Metrics()
    async with batching(model, metrics, max_batch_sequences=8) as batcher:
        asked = [request(f"say {n}", count=1 + n % 5, seed=n) for n in range(60)]
        answers = await asyncio.gather(*(submit(batcher, one) for one in asked))
    for one, answer in zip(asked, answers, strict=True):
        assert len(answer.result.candidates) == one.reply_count
        assert all(text.startswith(f"{one.turns[0]} / ") for text in texts(answer))
    assert model.most_under_way == 8
    assert len(model.batches) < 30
    assert metrics.registry.get_sample_value("dialog_queue_depth_sequences") == 0


async def test_a_batch_without_end_lets_go_of_those_it_has_answered():
    model = SteppingModel()
    async with batching(model) as batcher:
        long = await held(batcher, model, request("long", count=100))
        model.release()
        for number in range(10):
            await submit(batcher, request(f"short {number}", seed=number))
            assert len(batcher._running) <= 2
        assert not long.done()
        long.cancel()
    assert len(model.batches) == 1


async def test_one_that_joins_and_fails_fails_alone():
    model = SteppingModel()
    async with batching(model) as batcher:
        first = await held(batcher, model, request("first", count=9))
        brief = submit(batcher, request("brief"))
        guilty = submit(batcher, request("poison"))
        model.release()
        assert len(texts(await first)) == 9
        assert texts(await brief)[0].startswith("brief / ")
        with pytest.raises(GenerationFailed):
            await guilty


async def test_background_work_gives_way_to_one_that_joins():
    model = SteppingModel()
    async with batching(model) as batcher:
        growth = await held(batcher, model, request("growth", count=20), submit_background)
        urgent = submit(batcher, request("urgent", count=3))
        await asyncio.sleep(0.01)
        model.release()
        await asyncio.gather(urgent, growth)
    assert [one.turns[0] for one in model.finished] == ["urgent", "growth"]


async def test_a_caller_who_joined_and_left_is_dropped():
    model = SteppingModel()
    async with batching(model) as batcher:
        first = await held(batcher, model, request("first", count=9))
        gone = submit(batcher, request("gone", count=5))
        await until(lambda: batcher._queue)
        model.holds_who_join = True
        model.release()
        await until(lambda: model.joined_at)
        gone.cancel()
        model.release()
        await first
    assert [one.turns[0] for one in model.finished] == ["first"]
