import pickle
from dataclasses import replace

import pytest

from dialog_service.generation import Candidate, FinishReason
from dialog_service.serving.pool_codec import UnreadableCandidate, candidate_id, decode, encode
from dialog_service.v1.pool_pb2 import PooledCandidate

CANDIDATE = Candidate(
    text="Café, 9 o'clock? 😀",
    log_prob_nats=-7.25,
    token_count=6,
    finish_reason=FinishReason.LENGTH,
)


@pytest.mark.parametrize("reason", FinishReason)
def test_comes_back_as_it_was(reason: FinishReason) -> None:
    candidate = replace(CANDIDATE, finish_reason=reason)
    assert decode(encode(candidate)) == candidate


@pytest.mark.parametrize("relevance", [None, 0.0, 0.25, 1.0])
def test_relevance_comes_back_as_it_was(relevance: float | None) -> None:
    candidate = replace(CANDIDATE, relevance=relevance)
    assert decode(encode(candidate)) == candidate


def test_a_text_is_known_by_its_id() -> None:
    again = Candidate(text=CANDIDATE.text, log_prob_nats=-1, token_count=1, finish_reason="end")  # type: ignore[arg-type]
    other = Candidate(text="No.", log_prob_nats=-1, token_count=1, finish_reason=FinishReason.END)
    assert candidate_id(again) == candidate_id(CANDIDATE) != candidate_id(other)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00garbage",
        b"OK",
        pickle.dumps({"text": "hello"}),
        encode(CANDIDATE)[:-3],
        PooledCandidate(text="Hi.", token_count=1, finish_reason="tired").SerializeToString(),
        PooledCandidate(text="Hi.", finish_reason="end").SerializeToString(),
        PooledCandidate(token_count=1, finish_reason="end").SerializeToString(),
        PooledCandidate(
            text="Hi.", token_count=1, log_prob_nats=float("nan"), finish_reason="end"
        ).SerializeToString(),
        encode(replace(CANDIDATE, relevance=float("nan"))),
        encode(replace(CANDIDATE, relevance=1.5)),
    ],
)
def test_what_is_not_ours_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableCandidate):
        decode(value)
