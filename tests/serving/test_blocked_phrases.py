"""Blocked phrases: what they match, and that no reply holds one, wherever it comes from."""

from dataclasses import replace
from pathlib import Path

import pytest
from echo_server import EchoModel, Running, no_model, running
from redis_process import RedisProcess

from dialog_service.errors import ConfigError
from dialog_service.generation import GenerationRequest, Generator
from dialog_service.serving.app import Server
from dialog_service.serving.blocked_phrases import BlockedPhrases, Unwanted, blocked_phrases
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb

VARIETY = 12
BLOCKED = {f"hello / {number}" for number in (2, 3, 5, 7)}
COUNT = "dialog_blocked_candidates_total"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Blocks four of the twelve replies to "hello"."""
    file = tmp_path / "blocked"
    file.write_text("# numbers\nhello 2\nHELLO 3\n\nhello 5\n7\n")
    return file


@pytest.mark.parametrize(
    ("phrase", "text", "is_blocked"),
    [
        ("damn", "Damn!", True),
        ("damn", "Well, DAMN it.", True),
        ("damn", "A damned shame.", False),
        ("ass", "In class.", False),
        ("Damn!", "damn", True),
        ("go to hell", "Go to hell.", True),
        ("go to hell", "You go  to... hell, you!", True),
        ("go to hell", "go-to-hell", True),
        ("go-to-hell", "go to hell", True),
        ("go to hell", "Go to the hell.", False),
        ("go to hell", "hell to go", False),
        ("go to hell", "go to", False),
        ("don't care", "I don\u2019t care.", True),
        ("\uff44amn", "damn", True),  # full width
        ("d\u200bamn", "damn", True),  # a space of no width
        ("damn", "", False),
        ("caf\u00e9", "the cafe\u0301", True),
        ("24", "24-hour", True),
        ("24", "1234", False),
    ],
)
def test_whole_words_are_matched_in_any_case_and_with_any_marks(
    phrase: str, text: str, is_blocked: bool
):
    assert blocked_phrases(phrase).block(text) is is_blocked


def test_a_list_is_one_phrase_a_line_in_any_order():
    found = blocked_phrases("# not this\nBad word\r\n\n  worse  \n")
    assert found == BlockedPhrases(frozenset({("bad", "word"), ("worse",)}))
    assert found.digest == blocked_phrases("WORSE!\nbad word\nbad word").digest
    others = {blocked_phrases(text).digest for text in ("", "bad\nword\nworse", "bad word worse")}
    assert len({found.digest, *others}) == 4
    with pytest.raises(ValueError, match="line 2 holds no word"):
        blocked_phrases("bad\n?!\n")


@pytest.mark.parametrize("text", ["bad\n?!\n", None])
async def test_a_list_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str | None):
    file = tmp_path / "blocked"
    if text:
        file.write_text(text)
    listening = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": "off"}
    server = Server(Settings(**listening, blocked_phrases_file=file), load=no_model)
    with pytest.raises(ConfigError, match=str(file)):
        await server.start()


def texts(response: pb.GenerateRepliesResponse) -> list[str]:
    return [reply.text for reply in response.replies]


async def streamed(service: Running, request: pb.GenerateRepliesRequest) -> list[str]:
    call = service.stub.StreamReplies(pb.StreamRepliesRequest(request=request))
    return [event.reply.reply.text async for event in call if event.HasField("reply")]


async def test_a_blocked_candidate_is_drawn_again_and_counted(file: Path):
    request = pb.GenerateRepliesRequest(turns=[pb.Turn(text="hello")], reply_count=VARIETY)
    mmr = pb.Selection(strategy=pb.SELECTION_STRATEGY_MMR)
    async with running(EchoModel(variety=VARIETY), blocked_phrases_file=file) as service:
        response = await service.stub.GenerateReplies(request)
        assert response.diversity.unique_replies == VARIETY - len(BLOCKED)
        assert BLOCKED.isdisjoint(texts(response))
        assert service.metric(COUNT) >= len(BLOCKED)
        assert len(texts(await service.ask(reply_count=8))) == 8  # all that is left
        assert BLOCKED.isdisjoint(await streamed(service, request))
        batch = pb.BatchGenerateRepliesRequest(requests=[request])
        [result] = (await service.stub.BatchGenerateReplies(batch)).results
        assert BLOCKED.isdisjoint(texts(result.response))
        assert BLOCKED.isdisjoint(texts(await service.ask(reply_count=VARIETY, selection=mmr)))


async def test_a_seed_gives_the_same_replies_less_those_that_are_blocked(file: Path):
    async def seeded(service: Running, count: int) -> list[str]:
        sampling = pb.Sampling(seed=4)
        return texts(await service.ask(reply_count=count, sampling=sampling))

    async with running(EchoModel(variety=VARIETY)) as service:
        every = await seeded(service, VARIETY)
        assert service.metric(COUNT) == 0
    async with running(EchoModel(variety=VARIETY), blocked_phrases_file=file) as service:
        ends = [await seeded(service, count) for count in (8, 8, 3)]
    assert set(every) > BLOCKED
    left = [text for text in every if text not in BLOCKED]
    assert ends == [left, left, left[:3]]


async def drawn(service: Running, times: int = 30) -> set[str]:
    """All that so many requests are answered with."""
    return {text for _ in range(times) for text in texts(await service.ask(reply_count=4))}


async def test_no_pool_in_redis_hands_out_what_is_blocked_now(
    redis_server: RedisProcess, file: Path
):
    async with running(EchoModel(variety=VARIETY), redis_url=redis_server.url) as service:
        assert BLOCKED & await drawn(service)
        assert service.metric("dialog_cache_requests_total", result="hit")
        # Another replica, with a list, on the same pools.
        more = {"redis_url": redis_server.url, "blocked_phrases_file": file}
        async with running(EchoModel(variety=VARIETY), **more) as other:
            assert BLOCKED.isdisjoint(await drawn(other))
            assert other.metric("dialog_cache_requests_total", result="hit")
        assert BLOCKED & await drawn(service)


@pytest.mark.parametrize("is_redis_there", [True, False])
async def test_a_change_of_the_list_counts_from_the_next_request_on(
    redis_server: RedisProcess, file: Path, is_redis_there: bool
):
    every = file.read_text()
    file.write_text("nothing of the kind")
    url = redis_server.url
    if not is_redis_there:
        redis_server.kill()
    settings = {"redis_url": url, "blocked_phrases_file": file}
    async with running(EchoModel(variety=VARIETY), **settings) as service:
        assert BLOCKED & await drawn(service)
        file.write_text(every)
        assert BLOCKED.isdisjoint(await drawn(service))
        file.write_text("?")  # no list: what it said before goes on
        assert BLOCKED.isdisjoint(await drawn(service))
        file.write_text("")
        assert BLOCKED & await drawn(service)


def test_the_real_generator_draws_again(tiny_checkpoint: Path):
    generator = Generator.load(tiny_checkpoint, device="cpu", precision="fp32")
    request = GenerationRequest(
        turns=("the soup was cold",), reply_count=6, sampling=generator.defaults, seed=1
    )
    [free] = generator.generate([request])
    assert free is not None
    first, *rest = [candidate.text for candidate in free.candidates]
    blocked = blocked_phrases(first)
    counted: list[int] = []
    unwanted = Unwanted(frozenset(), blocked, lambda: counted.append(1))
    [found] = generator.generate([replace(request, excluded=unwanted)])
    assert found is not None
    left = [text for text in rest if not blocked.block(text)]
    assert [candidate.text for candidate in found.candidates][: len(left)] == left
    assert len(found.candidates) == 6
    assert counted
