"""A candidate as the bytes that are kept in Redis, and back; anything else is refused."""

import hashlib
import math

from google.protobuf.message import DecodeError

from dialog_service.generation import Candidate, FinishReason
from dialog_service.v1.pool_pb2 import PooledCandidate


class UnreadableCandidate(ValueError):
    """The bytes are no candidate of ours."""


def candidate_id(candidate: Candidate) -> bytes:
    """Sixteen bytes that name a text: two candidates of the same text are the same candidate."""
    return hashlib.blake2b(candidate.text.encode(), digest_size=16).digest()


def encode(candidate: Candidate) -> bytes:
    """Serialised ``PooledCandidate``."""
    return PooledCandidate(
        text=candidate.text,
        log_prob_nats=candidate.log_prob_nats,
        token_count=candidate.token_count,
        finish_reason=candidate.finish_reason,
        relevance=candidate.relevance,
    ).SerializeToString()


def decode(value: bytes) -> Candidate:
    """The candidate in a serialised ``PooledCandidate``.

    Raises:
        UnreadableCandidate: damaged, foreign, or not what ``encode`` can have written.
    """
    try:
        message = PooledCandidate.FromString(value)
        reason = FinishReason(message.finish_reason)
    except (DecodeError, ValueError) as error:
        raise UnreadableCandidate(str(error)) from error
    if not (message.text and message.token_count and math.isfinite(message.log_prob_nats)):
        raise UnreadableCandidate("a field is missing or out of range")
    if not 0 <= message.relevance <= 1:  # which not-a-number is not
        raise UnreadableCandidate("relevance is out of range")
    return Candidate(
        text=message.text,
        log_prob_nats=message.log_prob_nats,
        token_count=message.token_count,
        finish_reason=reason,
        relevance=message.relevance if message.HasField("relevance") else None,
    )
