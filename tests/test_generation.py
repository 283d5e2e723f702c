"""The generator's promises: what is said, in which order, with what randomness, and how it ends."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dialog_service.checkpoint import Checkpoint, load_checkpoint
from dialog_service.engine import Engine
from dialog_service.errors import ConfigError
from dialog_service.generation import (
    Candidate,
    FinishReason,
    GenerationRequest,
    GenerationResult,
    Generator,
    ModelLimits,
    SamplingParameters,
    context_ids,
    never,
    resolve_device,
    resolve_float_precision,
    resolve_precision,
)
from dialog_service.models.config import DiracPosterior, ModelConfig
from dialog_service.models.matcher import Tower
from dialog_service.models.recurrence import State
from dialog_service.models.search import TokenRule, normals
from dialog_service.models.seq2seq import build_model
from dialog_service.rating import Ratings
from dialog_service.replies import Company
from dialog_service.session import Plan
from dialog_service.text import detokenise, normalise
from dialog_service.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

POST = "The soup is cold."
WARM = SamplingParameters(temperature=1.0, max_tokens=12)
COLD = replace(WARM, temperature=0.0)


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture
def deterministic(checkpoint: Checkpoint) -> Checkpoint:
    """The same sizes with a point for a posterior, as DED has."""
    torch.manual_seed(5)
    config = checkpoint.model.config
    posterior = DiracPosterior(latent_dim=config.latent_dim)
    model = build_model(config.model_copy(update={"posterior": posterior}))
    return replace(checkpoint, model=model.eval())


def generator(checkpoint: Checkpoint) -> Generator:
    return Generator(checkpoint, device="cpu", precision="fp32")


def request(
    count: int = 5, sampling: SamplingParameters = WARM, seed: int = 1
) -> GenerationRequest:
    return GenerationRequest(turns=(POST,), reply_count=count, sampling=sampling, seed=seed)


def reply(checkpoint: Checkpoint, asked: GenerationRequest) -> GenerationResult:
    (result,) = generator(checkpoint).generate([asked])
    assert result is not None
    return result


def texts(result: GenerationResult) -> list[str]:
    return [candidate.text for candidate in result.candidates]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The ids of every draw, as they are given to the vocabulary."""
    seen: list[list[int]] = []
    decode = Vocabulary.decode

    def noted(self: Vocabulary, ids: Sequence[int]) -> str:
        seen.append(list(ids))
        return decode(self, ids)

    monkeypatch.setattr(Vocabulary, "decode", noted)
    return seen


def push(checkpoint: Checkpoint, scores: dict[int, float]) -> None:
    """Add to the scores of words, whatever the context."""
    with torch.no_grad():
        for word, score in scores.items():
            checkpoint.model.decoder.output.bias[word] += score


def test_replies_are_different_texts_in_the_order_drawn(
    checkpoint: Checkpoint, said: list[list[int]]
) -> None:
    result = reply(checkpoint, request(20))
    drawn = [detokenise(checkpoint.vocabulary.decode(ids)) for ids in list(said)]
    assert len(result.candidates) == 20
    assert texts(result) == list(dict.fromkeys(text for text in drawn if text))[:20]


@pytest.mark.parametrize("seed", range(4))
def test_fewer_are_the_first_of_more_where_many_repeat(checkpoint: Checkpoint, seed: int) -> None:
    often = replace(WARM, temperature=0.7, max_tokens=1)
    most = reply(checkpoint, request(12, often, seed))
    assert most.draws > 12  # some were drawn again
    for count in (1, 2, 5, 11):
        fewer = reply(checkpoint, request(count, often, seed))
        assert fewer.candidates == most.candidates[:count]


def test_the_last_missing_replies_are_not_asked_for_one_by_one(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(checkpoint, {word: 50 - word for word in range(20, 26)})
    rows = steps_taken(monkeypatch)
    result = reply(checkpoint, request(6, replace(WARM, max_tokens=1)))
    assert result.draws > 12
    assert len(rows) <= 4  # one word each, so a step is a round


def test_every_word_has_randomness_of_its_own(
    checkpoint: Checkpoint, said: list[list[int]]
) -> None:
    torch.nn.init.zeros_(checkpoint.model.decoder.projection.weight)
    torch.nn.init.zeros_(checkpoint.model.decoder.projection.bias)  # all words alike
    reply(checkpoint, request(20))
    assert all(len(set(ids)) > 1 for ids in said if len(ids) > 3)
    first, second = ([ids[place] for ids in said if len(ids) > 1] for place in (0, 1))
    assert first != second


@pytest.mark.parametrize("banned", [PAD, UNK, BOS])
def test_what_is_no_word_is_never_said(
    banned: int, checkpoint: Checkpoint, said: list[list[int]]
) -> None:
    push(checkpoint, {banned: 100.0})
    for sampling in (WARM, COLD, replace(WARM, top_k=3), replace(WARM, top_p=0.9)):
        assert reply(checkpoint, request(sampling=sampling)).candidates
    assert said
    assert not any(word in ids for ids in said for word in (PAD, UNK, BOS, EOS))


@pytest.mark.parametrize("sampling", [WARM, COLD], ids=["sampled", "greedy"])
def test_a_reply_says_something_before_it_ends(
    sampling: SamplingParameters, checkpoint: Checkpoint
) -> None:
    push(checkpoint, {EOS: 100.0})
    result = reply(checkpoint, request(sampling=sampling))
    assert all(c.token_count == 1 for c in result.candidates)
    assert all(c.finish_reason is FinishReason.END for c in result.candidates)


@pytest.mark.parametrize("limit", [1, 4, 12])
def test_a_reply_stops_at_the_limit_of_tokens(limit: int, checkpoint: Checkpoint) -> None:
    push(checkpoint, {EOS: -100.0})
    result = reply(checkpoint, request(sampling=replace(WARM, max_tokens=limit)))
    assert {c.token_count for c in result.candidates} == {limit}
    assert {c.finish_reason for c in result.candidates} == {FinishReason.LENGTH}


def test_replies_may_be_longer_than_any_that_the_model_was_trained_on(checkpoint: Checkpoint):
    trained, longer = (
        reply(checkpoint, request(count=20, sampling=replace(WARM, max_tokens=most))).candidates
        for most in (12, 40)
    )
    assert checkpoint.model.config.max_response_tokens == 12
    assert max(candidate.token_count for candidate in longer) == 40
    assert {c.finish_reason for c in longer if c.token_count == 40} == {FinishReason.LENGTH}
    for short, long in zip(trained, longer, strict=True):
        is_whole = short.finish_reason is FinishReason.END
        assert long == short if is_whole else long.log_prob_nats < short.log_prob_nats


def test_requests_of_different_limits_share_a_batch(checkpoint: Checkpoint) -> None:
    push(checkpoint, {EOS: -100.0})
    requests = [request(2, replace(WARM, max_tokens=limit), limit) for limit in (7, 1, 3)]
    results = generator(checkpoint).generate(requests)
    assert [r and {c.token_count for c in r.candidates} for r in results] == [{7}, {1}, {3}]


@pytest.mark.parametrize(
    "sampling",
    [
        replace(WARM, latent_scale=0.0),
        WARM,
        replace(WARM, temperature=0.6, top_p=0.8, latent_scale=1.7),
        replace(COLD, max_tokens=3),
    ],
    ids=["mean code", "drawn code", "narrow", "cut short"],
)
def test_log_probabilities_are_those_of_teacher_forcing(
    sampling: SamplingParameters, checkpoint: Checkpoint, said: list[list[int]]
) -> None:
    push(checkpoint, {EOS: 2.0})
    result = reply(checkpoint, request(8, sampling, seed=3))
    drawn = dict(reversed([(spoken(checkpoint, ids), (n, ids)) for n, ids in enumerate([*said])]))
    for candidate in result.candidates:
        number, ids = drawn[candidate.text]
        ended = candidate.finish_reason is FinishReason.END
        z = code(checkpoint, sampling, seed=3, draw=number)
        wanted = log_prob_nats(checkpoint, z, [*ids, EOS] if ended else ids)
        assert candidate.log_prob_nats == pytest.approx(wanted, abs=2e-4)
        assert candidate.token_count == len(ids)


def stopped(whole: Sequence[str], stop: str) -> list[str]:
    """What a stop leaves of replies: the different texts before it that say something."""
    return [text for text in dict.fromkeys(w.partition(stop)[0].rstrip() for w in whole) if text]


STOPS = ["e", " a", "ll", "."]


@pytest.mark.parametrize("stop", STOPS)
def test_stopped_replies_are_the_beginnings_of_those_that_are_not(
    stop: str, checkpoint: Checkpoint
) -> None:
    whole = texts(reply(checkpoint, request(60)))
    assert any(stop in text for text in whole)
    wanted = stopped(whole, stop)
    result = reply(checkpoint, request(len(wanted), replace(WARM, stop=("\n", stop))))
    assert texts(result) == wanted
    for candidate in result.candidates:
        is_cut = candidate.text not in whole
        assert (candidate.finish_reason is FinishReason.STOP) or not is_cut
    assert any(one.finish_reason is FinishReason.STOP for one in result.candidates)
    three = reply(checkpoint, request(3, replace(WARM, stop=(stop, "\n"))))
    assert three.candidates == result.candidates[:3]


@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_reply_counts_the_tokens_that_it_takes_to_say_it(
    stop: str, checkpoint: Checkpoint, said: list[list[int]]
) -> None:
    reply(checkpoint, request(60))
    drawn = [list(ids) for ids in said]
    result = reply(checkpoint, request(25, replace(WARM, stop=(stop,))))
    cut = [one for one in result.candidates if one.finish_reason is FinishReason.STOP]
    assert cut
    for candidate in cut:
        left = [spoken(checkpoint, ids).partition(stop)[0].rstrip() for ids in drawn]
        number = left.index(candidate.text)
        ids = drawn[number][: candidate.token_count]
        assert spoken(checkpoint, ids).startswith(candidate.text)
        assert not spoken(checkpoint, ids[:-1]).startswith(candidate.text)
        z = code(checkpoint, WARM, seed=1, draw=number)
        wanted = log_prob_nats(checkpoint, z, ids)
        assert candidate.log_prob_nats == pytest.approx(wanted, abs=2e-4)


def test_stops_of_one_request_are_not_those_of_another(checkpoint: Checkpoint) -> None:
    requests = [request(5, replace(WARM, stop=stop)) for stop in ((), ("e",), (), (" ",))]
    together = generator(checkpoint).generate(requests)
    assert together == [generator(checkpoint).generate([alone])[0] for alone in requests]
    assert together[0] != together[1]


def spoken(checkpoint: Checkpoint, ids: list[int]) -> str:
    return detokenise(checkpoint.vocabulary.decode(ids))


def code(checkpoint: Checkpoint, sampling: SamplingParameters, *, seed: int, draw: int) -> Tensor:
    """(1, Z), from the encoder as it is trained."""
    ids = torch.tensor([checkpoint.vocabulary.encode(normalise(POST))])
    encoded = checkpoint.model.encoder(
        checkpoint.model.embedding(ids), torch.tensor([ids.shape[1]])
    )
    belief = checkpoint.model.reply_belief(encoded)
    noise = normals(torch.tensor([seed]), torch.tensor([draw]), belief.loc.shape[1])
    return belief.loc + sampling.latent_scale * belief.scale * noise


@torch.no_grad()
def log_prob_nats(checkpoint: Checkpoint, z: Tensor, ids: list[int]) -> float:
    """ln p of ids given a code under teacher forcing, among the words that may be said."""
    decoder = checkpoint.model.decoder
    inputs = torch.tensor([[BOS, *ids[:-1]]])
    scores = decoder.logits(decoder.features(inputs, torch.tensor([len(ids)]), z))  # (T, V)
    scores[:, [PAD, UNK, BOS]] = -torch.inf
    scores[0, EOS] = -torch.inf
    return float(scores.log_softmax(1).gather(1, torch.tensor(ids)[:, None]).sum())


def test_top_k_one_and_no_temperature_are_the_same(checkpoint: Checkpoint) -> None:
    greedy = reply(checkpoint, request(6, COLD))
    assert len(greedy.candidates) > 1  # the code is still drawn
    assert reply(checkpoint, request(6, replace(WARM, top_k=1))) == greedy


@pytest.mark.parametrize("sampling", [COLD, replace(WARM, top_k=1)], ids=["cold", "top_k 1"])
def test_what_can_say_one_thing_only_draws_once(
    sampling: SamplingParameters, checkpoint: Checkpoint, deterministic: Checkpoint
) -> None:
    point = reply(deterministic, request(10, sampling))
    mean = reply(checkpoint, request(10, replace(sampling, latent_scale=0.0)))
    for result in (point, mean):
        assert len(result.candidates) == 1
        assert result.draws == 1


def test_a_deterministic_model_varies_by_its_words(deterministic: Checkpoint) -> None:
    assert generator(deterministic).is_deterministic
    assert len(reply(deterministic, request(10)).candidates) == 10


def test_no_latent_scale_replies_from_the_mean(checkpoint: Checkpoint) -> None:
    still = replace(COLD, latent_scale=0.0)
    first = reply(checkpoint, request(1, still, seed=1))
    assert reply(checkpoint, request(1, still, seed=2)) == first
    drawn = {texts(reply(checkpoint, request(1, COLD, seed=s)))[0] for s in range(8)}
    assert len(drawn) > 1


def test_excluded_texts_make_way_for_the_next_ones(checkpoint: Checkpoint) -> None:
    nine = reply(checkpoint, request(9))
    excluded = frozenset(texts(nine)[:4])
    five = reply(checkpoint, replace(request(5), excluded=excluded))
    assert five.candidates == nine.candidates[4:]
    assert five.draws == nine.draws


def test_draws_are_limited_and_counted(checkpoint: Checkpoint) -> None:
    word = checkpoint.vocabulary.encode("taxi")[0]
    push(checkpoint, {word: 100.0})
    result = reply(checkpoint, request(5))
    assert len(result.candidates) == 1
    assert result.draws == 3 * 5 + 16
    assert reply(checkpoint, request(1)).draws == 1


def test_empty_replies_are_not_returned(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vocabulary, "decode", lambda self, ids: "")
    result = reply(checkpoint, request(3))
    assert result.candidates == ()
    assert result.draws == 3 * 3 + 16


def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the rows of every decoder step."""
    rows: list[int] = []
    choose = Engine.choose

    def counted(
        self: Engine, state: State, rule: TokenRule, uniform: Tensor, may_end: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows.append(len(uniform))
        return choose(self, state, rule, uniform, may_end)

    monkeypatch.setattr(Engine, "choose", counted)
    return rows


def test_an_abandoned_request_ends_and_changes_no_other(checkpoint: Checkpoint) -> None:
    push(checkpoint, {EOS: -100.0})
    requests = [request(40, seed=seed) for seed in range(3)]
    asked: list[int] = []

    def is_abandoned(index: int) -> bool:
        asked.append(index)
        return index == 1 and asked.count(1) == 3

    results = generator(checkpoint).generate(requests, is_abandoned)
    assert asked.count(1) == 3  # and never again
    assert asked.count(0) >= WARM.max_tokens
    undisturbed = generator(checkpoint).generate(requests)
    assert results == [undisturbed[0], None, undisturbed[2]]


def test_work_stops_with_its_last_caller(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(checkpoint, {EOS: -100.0})
    rows = steps_taken(monkeypatch)
    left = iter([False, False, True])
    assert generator(checkpoint).generate([request()], lambda _: next(left)) == [None]
    assert len(rows) == 2


def test_finished_sequences_leave_the_batch(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(checkpoint, {checkpoint.vocabulary.encode("taxi")[0]: 50.0, EOS: 100.0})
    rows = steps_taken(monkeypatch)
    long, short = replace(WARM, max_tokens=12), replace(WARM, max_tokens=1)
    requests = [request(1, short, seed) for seed in range(70)] + [request(1, long)]
    generator(checkpoint).generate(requests)
    *first_word, end = rows
    assert 71 <= sum(first_word) <= 96  # filled up to an allowed number
    assert end <= 32


def test_company_of_every_kind_changes_no_reply(checkpoint: Checkpoint) -> None:
    kinds = [WARM, COLD, replace(WARM, top_k=7), replace(WARM, top_p=0.5, temperature=2.0)]
    requests = [
        replace(
            request(1 + seed % 9, replace(kinds[seed % 4], max_tokens=1 + seed % 12), seed),
            turns=(" ".join(["so"] * (1 + seed % 5)),),
        )
        for seed in range(45)
    ]
    together = generator(checkpoint).generate(requests)
    assert together == [generator(checkpoint).generate([alone])[0] for alone in requests]


def test_each_reply_is_told_once_and_in_order(checkpoint: Checkpoint) -> None:
    often = replace(WARM, temperature=0.7, max_tokens=1)  # some are drawn again
    requests = [request(4), request(12, often), request(5, replace(WARM, stop=("e",)))]
    told: dict[int, list[Candidate]] = {index: [] for index in range(len(requests))}

    def on_reply(index: int, number: int, candidate: Candidate) -> None:
        assert number == len(told[index])
        told[index].append(candidate)

    results = generator(checkpoint).generate(requests, never, on_reply)
    assert [tuple(each) for each in told.values()] == [r.candidates for r in results if r]
    assert results == generator(checkpoint).generate(requests)


def test_a_reply_is_told_as_soon_as_it_and_those_before_it_are_finished(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(checkpoint, {EOS: 3.0})
    steps = steps_taken(monkeypatch)
    told: list[int] = []
    asked = request(8, seed=2)
    (result,) = generator(checkpoint).generate([asked], never, lambda *_: told.append(len(steps)))
    assert result is not None
    assert result.draws == 8  # one round: no reply was drawn again
    ends = [c.token_count + (c.finish_reason is FinishReason.END) for c in result.candidates]
    assert told == [max(ends[: place + 1]) for place in range(8)]
    assert ends != sorted(ends)
    for count in range(1, 8):
        fewer = reply(checkpoint, replace(asked, reply_count=count))
        assert fewer.candidates == result.candidates[:count]


def test_nothing_is_told_of_an_abandoned_request(checkpoint: Checkpoint) -> None:
    told: list[int] = []
    requests = [request(3, seed=seed) for seed in range(2)]
    generator(checkpoint).generate(requests, lambda index: index == 1, lambda i, *_: told.append(i))
    assert told == [0, 0, 0]


def test_nothing_asked_nothing_answered(checkpoint: Checkpoint) -> None:
    assert generator(checkpoint).generate([]) == []


def test_a_long_context_loses_its_beginning_and_says_so(checkpoint: Checkpoint) -> None:
    end = " ".join(["taxi"] * 30)
    cut = [
        reply(checkpoint, replace(request(), turns=(start + end,))) for start in ("", "my sister ")
    ]
    assert cut[0] == cut[1]
    assert cut[0].context_truncated
    assert not reply(checkpoint, request()).context_truncated


def test_turns_that_the_model_does_not_read_are_reported(checkpoint: Checkpoint) -> None:
    one = reply(checkpoint, replace(request(), turns=("the soup",)))
    two = reply(checkpoint, replace(request(), turns=("now", "the soup")))
    assert two.candidates == one.candidates
    assert (one.context_truncated, two.context_truncated) == (False, True)


@pytest.mark.parametrize(
    ("turns", "read"),
    [
        ([[5, 6], [7]], [5, 6, EOS, 7]),
        ([[4], [5, 6], [7]], [5, 6, EOS, 7]),
        ([[5] * 9, [6, 7]], [5, 5, EOS, 6, 7]),
        ([[5], [6] * 9], [6] * 5),
        ([[], [6]], [6]),
        ([[]], [UNK]),
    ],
)
def test_context_ids(turns: list[list[int]], read: list[int], checkpoint: Checkpoint) -> None:
    config: ModelConfig = checkpoint.model.config
    two_turns = config.model_copy(update={"context_turns": 2, "max_context_tokens": 5})
    assert context_ids(turns, two_turns) == read


def test_text_that_the_model_cannot_read_is_answered(checkpoint: Checkpoint) -> None:
    assert reply(checkpoint, replace(request(), turns=("\u9f8d",))).candidates
    assert reply(checkpoint, replace(request(), turns=("",))).candidates


def test_limits_and_defaults_are_the_checkpoint_s(checkpoint: Checkpoint) -> None:
    made = generator(checkpoint)
    size = len(checkpoint.vocabulary)
    assert made.limits == ModelLimits(
        max_context_tokens=16, max_reply_tokens=12, vocab_size=size, context_turns=1
    )
    assert made.defaults == SamplingParameters(top_p=0.95, max_tokens=12)
    assert made.meta == checkpoint.meta
    assert not made.is_deterministic


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_numbers_give_nearly_the_same_scores(precision: str, checkpoint: Checkpoint) -> None:
    made = Generator(checkpoint, device="cpu", precision=precision)
    assert made.precision == precision
    (result,) = made.generate([request(20)])
    assert result is not None
    exact = generator(checkpoint).generate([request(20)])[0]
    assert exact is not None
    same = {c.text: c.log_prob_nats for c in exact.candidates}
    common = [c for c in result.candidates if c.text in same]
    assert len(common) >= 5
    for candidate in common:
        assert candidate.log_prob_nats == pytest.approx(same[candidate.text], abs=0.3)


@pytest.mark.parametrize("name", ["gpu", "meta", "mps", "cuda:99", "cpu:x", ""])
def test_a_device_that_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device {name!r}") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_devices_and_precisions_that_can() -> None:
    cpu = resolve_device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    assert [resolve_precision(name, cpu) for name in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert resolve_precision("auto", cpu) in ("bf16", "int8", "fp32")
    assert resolve_float_precision("auto", cpu) in ("fp32", "bf16")
    with pytest.raises(ConfigError, match="'fp8': allowed are auto, fp32, bf16, int8"):
        resolve_precision("fp8", cpu)
    with pytest.raises(ConfigError, match="'int8': allowed are auto, fp32, bf16"):
        resolve_float_precision("int8", cpu)


def test_integers_are_for_x86_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialog_service.engine.precision.can_multiply_int8", lambda: False)
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) in ("fp32", "bf16")
    with pytest.raises(ConfigError, match="allowed here are fp32, bf16"):
        resolve_precision("int8", cpu)


class Visitors(Company):
    """One after the other, each some steps after the one before it."""

    def __init__(self, requests: Sequence[GenerationRequest]) -> None:
        self.coming = list(requests)
        self.steps = 0
        self.known: dict[int, GenerationResult | None] = {}

    def joining(self, under_way: int) -> Sequence[GenerationRequest]:
        self.steps += 1
        return [self.coming.pop(0)] if self.coming and self.steps % 3 == 0 else []

    def on_result(self, index: int, result: GenerationResult | None) -> None:
        assert index not in self.known
        self.known[index] = result


def test_those_who_join_on_the_way_change_no_reply_and_get_their_own(
    checkpoint: Checkpoint,
) -> None:
    push(checkpoint, {EOS: -100.0})
    kinds = [WARM, COLD, replace(WARM, top_k=7), replace(WARM, max_tokens=2)]
    requests = [request(1 + seed % 7, kinds[seed % 4], seed) for seed in range(12)]
    visitors = Visitors(requests[2:])
    found = generator(checkpoint).generate(requests[:2], never, company=visitors)
    known = sorted(visitors.known)
    assert len(known) >= 4
    assert known == list(range(len(known)))
    assert known != list(visitors.known)
    alone = [generator(checkpoint).generate([one])[0] for one in requests[: len(known)]]
    assert [visitors.known[index] for index in known] == alone
    assert found == alone[:2]


def test_whoever_listens_is_told_who_was_abandoned(checkpoint: Checkpoint) -> None:
    push(checkpoint, {EOS: -100.0})
    visitors = Visitors([request(1, seed=2)])
    generator(checkpoint).generate([request(1)], lambda index: index == 1, company=visitors)
    assert [visitors.known[index] is None for index in range(2)] == [False, True]


def rated(checkpoint: Checkpoint, *asked: GenerationRequest) -> list[GenerationResult]:
    return [result for result in generator(checkpoint).generate(asked) if result]


def test_a_matcher_changes_nothing_of_what_is_said(
    checkpoint: Checkpoint, matched_checkpoint: Path
) -> None:
    matched = load_checkpoint(matched_checkpoint)
    assert (generator(checkpoint).has_matcher, generator(matched).has_matcher) == (False, True)
    asked = request(8)
    assert reply(matched, asked) == reply(checkpoint, asked)  # nobody asked how well it fits
    (result,) = rated(matched, replace(asked, is_rated=True))
    unrated = [replace(candidate, relevance=None) for candidate in result.candidates]
    assert unrated == list(reply(checkpoint, asked).candidates)
    assert reply(checkpoint, replace(asked, is_rated=True)) == reply(checkpoint, asked)


def test_relevance_is_the_matchers_own(matched_checkpoint: Path) -> None:
    matched = load_checkpoint(matched_checkpoint)
    (result,) = rated(matched, replace(request(8), is_rated=True))
    model, matcher = matched.model, matched.model.matcher
    assert matcher is not None

    def vector(text: str, tower: Tower) -> Tensor:
        ids = torch.tensor([matched.vocabulary.encode(normalise(text))])
        embedded = model.embedding(ids)
        states = model.encoder(embedded, torch.tensor([ids.shape[1]]))
        return tower(torch.cat([states, embedded.mean(dim=1)], dim=1))

    with torch.inference_mode():
        post = vector(POST, matcher.contexts)
        for candidate in result.candidates:
            wanted = matcher.relevance(post, vector(candidate.text, matcher.replies))
            assert candidate.relevance == pytest.approx(float(wanted), abs=1e-5)
    assert len({candidate.relevance for candidate in result.candidates}) == 8


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_relevance_does_not_depend_on_company(matched_checkpoint: Path, precision: str) -> None:
    matched = Generator(load_checkpoint(matched_checkpoint), device="cpu", precision=precision)
    asked = replace(request(7), is_rated=True)
    others = [
        replace(request(n, seed=n), turns=("A taxi.",), is_rated=n % 2 == 0) for n in range(1, 9)
    ]
    (alone,) = matched.generate([asked])
    amid = matched.generate([*others[:4], asked, *others[4:]])
    assert amid[4] == alone
    assert [bool(r and r.candidates[0].relevance is not None) for r in amid] == [
        False, True, False, True, True, False, True, False, True
    ]  # fmt: skip


def test_those_who_join_are_rated_against_their_own_context(matched_checkpoint: Path) -> None:
    matched = load_checkpoint(matched_checkpoint)
    posts = ("A taxi.", "My sister is late.", "The weather was quite cold.")
    requests = [
        replace(request(1 + n % 4, seed=n), turns=(posts[n % 3],), is_rated=n % 4 > 0)
        for n in range(12)
    ]
    crowd = Crowd(requests[2:])
    generator(matched).generate(requests[:2], never, company=crowd)
    alone = [generator(matched).generate([one])[0] for one in requests]
    assert crowd.known == dict(enumerate(alone))


class Crowd(Visitors):
    """They come three at a time, while others are under way."""

    def joining(self, under_way: int) -> Sequence[GenerationRequest]:
        come, self.coming = self.coming[:3], self.coming[3:]
        return come


class Endless(Company):
    """Another one with every step, so that there is no end to it before its own."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.told = 0
        self.most_kept = 0

    def on_result(self, index: int, result: GenerationResult | None) -> None:
        self.told += 1

    def joining(self, under_way: int) -> Sequence[GenerationRequest]:
        for kind in (Plan, GenerationResult):
            kept = sum(type(each) is kind for each in gc.get_objects())
            self.most_kept = max(self.most_kept, kept)
        self.left -= 1
        return [replace(request(1, seed=self.left), is_rated=True)] if self.left > 0 else []


def test_what_is_done_with_is_let_go_while_others_go_on(matched_checkpoint: Path) -> None:
    endless = Endless(80)
    matched = generator(load_checkpoint(matched_checkpoint))
    found = matched.generate([request(1)], never, company=endless)
    assert (len(found), endless.told) == (1, 80)
    assert endless.most_kept < 30  # no reply has more than 12 words


def test_what_is_kept_of_a_context_is_its_own_alone(matched_checkpoint: Path) -> None:
    matched = generator(load_checkpoint(matched_checkpoint))
    ratings = Ratings(matched._engine, lambda text: [5])
    asked = [replace(request(1), is_rated=n != 1) for n in range(3)]
    with torch.inference_mode():
        contexts = [[4], [5], [6]]
        ratings.begin(7, asked, contexts, matched._engine.states(contexts))
        kept = ratings._vectors
        assert {n: len(v.untyped_storage()) for n, v in kept.items()} == {7: 1024, 9: 1024}
        assert ratings.told({7: None, 9: None}) == {7: None, 9: None}  # both abandoned
    assert not kept
