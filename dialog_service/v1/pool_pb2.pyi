from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PooledCandidate(_message.Message):
    __slots__ = ("text", "log_prob_nats", "token_count", "finish_reason", "relevance")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOG_PROB_NATS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    log_prob_nats: float
    token_count: int
    finish_reason: str
    relevance: float
    def __init__(self, text: _Optional[str] = ..., log_prob_nats: _Optional[float] = ..., token_count: _Optional[int] = ..., finish_reason: _Optional[str] = ..., relevance: _Optional[float] = ...) -> None: ...
