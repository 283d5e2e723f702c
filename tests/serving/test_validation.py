"""Every rule of a request, and that all violations are found at once."""

import math

import pytest

from dialog_service.errors import InvalidRequest
from dialog_service.generation import SamplingParameters
from dialog_service.selection import MmrSelection, NoSelection
from dialog_service.serving.validation import (
    AskedSampling,
    AskedSelection,
    CacheMode,
    ReplyRequest,
    RequestLimits,
    ServerLimits,
    Strategy,
    Turn,
    validated,
)

SERVER = ServerLimits(max_replies=32, max_candidates=40)
LIMITS = RequestLimits(server=SERVER, vocab_size=100, context_turns=2)
DEFAULTS = SamplingParameters(temperature=0.9, top_k=7, top_p=0.8, max_tokens=30, latent_scale=1.5)


def query(text: str = "hello", **fields: object):
    return validated(ReplyRequest(turns=(Turn(text=text),), **fields), LIMITS, DEFAULTS)


def violated(request: ReplyRequest) -> list[str]:
    with pytest.raises(InvalidRequest) as refusal:
        validated(request, LIMITS, DEFAULTS)
    return [violation.field for violation in refusal.value.violations]


def test_what_is_absent_is_the_default():
    found = query()
    assert (found.reply_count, found.sampling, found.seed) == (5, DEFAULTS, None)
    assert found.cache_mode is CacheMode.DEFAULT


def test_what_is_present_is_kept_zero_too():
    asked = AskedSampling(
        temperature=0.0, top_k=0, top_p=1.0, max_tokens=1, latent_scale=0.0, seed=0
    )
    found = query(sampling=asked, reply_count=32, cache_mode=CacheMode.BYPASS)
    assert found.sampling == SamplingParameters(
        temperature=0.0, top_k=0, top_p=1.0, max_tokens=1, latent_scale=0.0
    )
    assert (found.seed, found.reply_count, found.cache_mode) == (0, 32, CacheMode.BYPASS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n ",
        "\u200b\u200d",
        "a" * 4097,
        "\ufdfa" * 228,
        "a" * 10**6,
        "bell \x07",
        "null \x00",
        "delete \x7f",
        "escape \x1b[31m",
        "next \x9b",
        "lone \ud800 surrogate",
    ],
    ids=ascii,
)
def test_texts_that_cannot_be_answered(text: str):
    assert violated(ReplyRequest(turns=(Turn(text=text),))) == ["turns[0].text"]


@pytest.mark.parametrize(
    "text", ["a" * 4096, "\ufdfa" * 227, "two\nlines\tand\r\nmore", "?", "🙂 你好", "\u00a0a"]
)
def test_texts_that_can_be_answered(text: str):
    assert query(text).turns == (text,)


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "temperature": [-0.1, 5.1, math.nan, math.inf, -math.inf],
        "top_k": [-1, 101],
        "top_p": [0.0, -0.5, 1.01, math.nan],
        "max_tokens": [0, -1, 101],
        "latent_scale": [-0.1, 4.1, math.nan],
        "seed": [-1, 2**63],
    }.items(),
)
def test_sampling_out_of_range(field: str, values: list[float]):
    for value in values:
        request = ReplyRequest(turns=(Turn(text="hi"),), sampling=AskedSampling(**{field: value}))
        assert violated(request) == [f"sampling.{field}"], value


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "temperature": [0.0, 5.0],
        "top_k": [0, 100],
        "top_p": [1e-9, 1.0],
        "max_tokens": [1, 100],
        "latent_scale": [0.0, 4.0],
        "seed": [0, 2**63 - 1],
    }.items(),
)
def test_the_ends_of_every_range(field: str, values: list[float]):
    for value in values:
        asked = AskedSampling(**{field: value})
        found = query(sampling=asked)
        assert (found.seed if field == "seed" else getattr(found.sampling, field)) == value


@pytest.mark.parametrize("count", [0, -1, 33, 10_000])
def test_reply_counts_out_of_range(count: int):
    assert violated(ReplyRequest(turns=(Turn(text="hi"),), reply_count=count)) == ["reply_count"]


def test_every_violation_is_found_at_once():
    request = ReplyRequest(
        turns=(Turn(text="", speaker="s" * 129), Turn(text="\x00")),
        reply_count=0,
        sampling=AskedSampling(temperature=math.nan, top_p=2.0, stop=("",), seed=-5),
        selection=AskedSelection(strategy=None, relevance_weight=3.0),
        cache_mode=None,
    )
    assert violated(request) == [
        "turns[0].speaker",
        "turns[0].text",
        "turns[1].text",
        "reply_count",
        "sampling.temperature",
        "sampling.top_p",
        "sampling.seed",
        "sampling.stop[0]",
        "selection.strategy",
        "selection.relevance_weight",
        "cache_mode",
    ]


def test_no_turns_and_too_many():
    assert violated(ReplyRequest(turns=())) == ["turns"]
    many = (Turn(text="hi"),) * 1001
    assert violated(ReplyRequest(turns=many)) == ["turns"]
    assert validated(ReplyRequest(turns=many[1:]), LIMITS, DEFAULTS).turns_cut


def test_what_selection_ignores_is_refused():
    selection = AskedSelection(candidate_count=20, relevance_weight=0.5)
    request = ReplyRequest(turns=(Turn(text="hi"),), selection=selection)
    assert violated(request) == ["selection.candidate_count", "selection.relevance_weight"]


def test_the_servers_way_is_for_those_who_do_not_say():
    server = ServerLimits(max_replies=32, max_candidates=64, strategy=Strategy.MMR)
    limits = RequestLimits(server=server, vocab_size=100, context_turns=1)

    def found(**fields: object) -> tuple[object, int]:
        asked = AskedSelection(**fields)
        request = ReplyRequest(turns=(Turn(text="hi"),), reply_count=3, selection=asked)
        chosen = validated(request, limits, DEFAULTS)
        return chosen.selection, chosen.candidate_count

    assert found() == (MmrSelection(relevance_weight=0.5), 32)
    assert found(candidate_count=9) == (MmrSelection(relevance_weight=0.5), 9)
    assert found(strategy=Strategy.NONE) == (NoSelection(), 3)


def test_what_selection_leaves_open():
    none, mmr = query(reply_count=7), query(selection=AskedSelection(strategy=Strategy.MMR))
    assert (none.selection, none.candidate_count) == (NoSelection(), 7)
    assert (mmr.selection, mmr.candidate_count) == (MmrSelection(relevance_weight=0.5), 32)
    asked = AskedSelection(strategy=Strategy.MMR, candidate_count=5, relevance_weight=0.0)
    found = query(selection=asked)
    assert (found.selection, found.candidate_count) == (MmrSelection(relevance_weight=0.0), 5)


@pytest.mark.parametrize(
    ("replies", "candidates", "fields"),
    [
        (None, 4, ["selection.candidate_count"]),
        (8, 7, ["selection.candidate_count"]),
        (8, 41, ["selection.candidate_count"]),
        (0, 0, ["reply_count", "selection.candidate_count"]),
        (33, 34, ["reply_count"]),
        (-3, 1, ["reply_count"]),
    ],
)
def test_candidate_counts_out_of_range(replies: int | None, candidates: int, fields: list[str]):
    selection = AskedSelection(strategy=Strategy.MMR, candidate_count=candidates)
    turns = (Turn(text="hi"),)
    request = ReplyRequest(turns=turns, reply_count=replies, selection=selection)
    assert violated(request) == fields


@pytest.mark.parametrize(
    ("stop", "fields"),
    [
        (("",), ["sampling.stop[0]"]),
        (("a", "b" * 65), ["sampling.stop[1]"]),
        (("a", "\x00", "c", ""), ["sampling.stop[1]", "sampling.stop[3]"]),
        (("\ud800",), ["sampling.stop[0]"]),
        (("a",) * 5, ["sampling.stop"]),
        (("",) * 1000, ["sampling.stop", *(f"sampling.stop[{n}]" for n in range(4))]),
    ],
)
def test_stops_that_cannot_be(stop: tuple[str, ...], fields: list[str]):
    request = ReplyRequest(turns=(Turn(text="hi"),), sampling=AskedSampling(stop=stop))
    assert violated(request) == fields


@pytest.mark.parametrize("stop", [(" ",), ("\n",), ("a" * 64,) * 4, ("🙂", "Bye.")])
def test_stops_that_can(stop: tuple[str, ...]):
    assert query(sampling=AskedSampling(stop=stop)).sampling.stop == stop


def test_turns_beyond_the_model_are_cut_from_the_left_and_said():
    turns = tuple(Turn(text=text) for text in ("one", "two", "three"))
    found = validated(ReplyRequest(turns=turns), LIMITS, DEFAULTS)
    assert (found.turns, found.turns_cut) == (("two", "three"), True)
    found = validated(ReplyRequest(turns=turns[:2]), LIMITS, DEFAULTS)
    assert (found.turns, found.turns_cut) == (("one", "two"), False)


def test_fewer_replies_by_default_where_the_server_allows_fewer():
    few = ServerLimits(max_replies=3, max_candidates=6)
    limits = RequestLimits(server=few, vocab_size=100, context_turns=1)
    assert validated(ReplyRequest(turns=(Turn(text="a"),)), limits, DEFAULTS).reply_count == 3
    asked = ReplyRequest(turns=(Turn(text="a"),), selection=AskedSelection(strategy=Strategy.MMR))
    assert validated(asked, limits, DEFAULTS).candidate_count == 6
