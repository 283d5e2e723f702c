import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SelectionStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SELECTION_STRATEGY_UNSPECIFIED: _ClassVar[SelectionStrategy]
    SELECTION_STRATEGY_NONE: _ClassVar[SelectionStrategy]
    SELECTION_STRATEGY_MMR: _ClassVar[SelectionStrategy]

class CacheMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_MODE_UNSPECIFIED: _ClassVar[CacheMode]
    CACHE_MODE_DEFAULT: _ClassVar[CacheMode]
    CACHE_MODE_BYPASS: _ClassVar[CacheMode]
    CACHE_MODE_REFRESH: _ClassVar[CacheMode]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_END: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]

class CacheStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_STATUS_UNSPECIFIED: _ClassVar[CacheStatus]
    CACHE_STATUS_HIT: _ClassVar[CacheStatus]
    CACHE_STATUS_MISS: _ClassVar[CacheStatus]
    CACHE_STATUS_BYPASS: _ClassVar[CacheStatus]
    CACHE_STATUS_DEGRADED: _ClassVar[CacheStatus]

class DiversityScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIVERSITY_SCOPE_UNSPECIFIED: _ClassVar[DiversityScope]
    DIVERSITY_SCOPE_REPLICA: _ClassVar[DiversityScope]
    DIVERSITY_SCOPE_FLEET: _ClassVar[DiversityScope]

class ReplySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLY_SOURCE_UNSPECIFIED: _ClassVar[ReplySource]
    REPLY_SOURCE_FRESH: _ClassVar[ReplySource]
    REPLY_SOURCE_CACHE: _ClassVar[ReplySource]
SELECTION_STRATEGY_UNSPECIFIED: SelectionStrategy
SELECTION_STRATEGY_NONE: SelectionStrategy
SELECTION_STRATEGY_MMR: SelectionStrategy
CACHE_MODE_UNSPECIFIED: CacheMode
CACHE_MODE_DEFAULT: CacheMode
CACHE_MODE_BYPASS: CacheMode
CACHE_MODE_REFRESH: CacheMode
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_END: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_STOP: FinishReason
CACHE_STATUS_UNSPECIFIED: CacheStatus
CACHE_STATUS_HIT: CacheStatus
CACHE_STATUS_MISS: CacheStatus
CACHE_STATUS_BYPASS: CacheStatus
CACHE_STATUS_DEGRADED: CacheStatus
DIVERSITY_SCOPE_UNSPECIFIED: DiversityScope
DIVERSITY_SCOPE_REPLICA: DiversityScope
DIVERSITY_SCOPE_FLEET: DiversityScope
REPLY_SOURCE_UNSPECIFIED: ReplySource
REPLY_SOURCE_FRESH: ReplySource
REPLY_SOURCE_CACHE: ReplySource

class GenerateRepliesRequest(_message.Message):
    __slots__ = ("model", "turns", "reply_count", "sampling", "selection", "cache_mode")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    REPLY_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    CACHE_MODE_FIELD_NUMBER: _ClassVar[int]
    model: str
    turns: _containers.RepeatedCompositeFieldContainer[Turn]
    reply_count: int
    sampling: Sampling
    selection: Selection
    cache_mode: CacheMode
    def __init__(self, model: _Optional[str] = ..., turns: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., reply_count: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., selection: _Optional[_Union[Selection, _Mapping]] = ..., cache_mode: _Optional[_Union[CacheMode, str]] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("speaker", "text")
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    speaker: str
    text: str
    def __init__(self, speaker: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_k", "top_p", "max_tokens", "latent_scale", "stop", "seed")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LATENT_SCALE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_k: int
    top_p: float
    max_tokens: int
    latent_scale: float
    stop: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    def __init__(self, temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., max_tokens: _Optional[int] = ..., latent_scale: _Optional[float] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ...) -> None: ...

class Selection(_message.Message):
    __slots__ = ("strategy", "candidate_count", "relevance_weight")
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    strategy: SelectionStrategy
    candidate_count: int
    relevance_weight: float
    def __init__(self, strategy: _Optional[_Union[SelectionStrategy, str]] = ..., candidate_count: _Optional[int] = ..., relevance_weight: _Optional[float] = ...) -> None: ...

class GenerateRepliesResponse(_message.Message):
    __slots__ = ("replies", "model_version", "seed", "cache", "diversity", "timing", "context_truncated")
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    model_version: str
    seed: int
    cache: CacheInfo
    diversity: ReplyDiversity
    timing: Timing
    context_truncated: bool
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., model_version: _Optional[str] = ..., seed: _Optional[int] = ..., cache: _Optional[_Union[CacheInfo, _Mapping]] = ..., diversity: _Optional[_Union[ReplyDiversity, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., context_truncated: _Optional[bool] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("text", "log_prob_nats", "token_count", "finish_reason", "relevance")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOG_PROB_NATS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    log_prob_nats: float
    token_count: int
    finish_reason: FinishReason
    relevance: float
    def __init__(self, text: _Optional[str] = ..., log_prob_nats: _Optional[float] = ..., token_count: _Optional[int] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., relevance: _Optional[float] = ...) -> None: ...

class CacheInfo(_message.Message):
    __slots__ = ("status", "pool_size")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    status: CacheStatus
    pool_size: int
    def __init__(self, status: _Optional[_Union[CacheStatus, str]] = ..., pool_size: _Optional[int] = ...) -> None: ...

class ReplyDiversity(_message.Message):
    __slots__ = ("distinct_1", "distinct_2", "unique_replies")
    DISTINCT_1_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_2_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_REPLIES_FIELD_NUMBER: _ClassVar[int]
    distinct_1: float
    distinct_2: float
    unique_replies: int
    def __init__(self, distinct_1: _Optional[float] = ..., distinct_2: _Optional[float] = ..., unique_replies: _Optional[int] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue", "inference")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    queue: _duration_pb2.Duration
    inference: _duration_pb2.Duration
    def __init__(self, queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., inference: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamRepliesRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: GenerateRepliesRequest
    def __init__(self, request: _Optional[_Union[GenerateRepliesRequest, _Mapping]] = ...) -> None: ...

class StreamRepliesResponse(_message.Message):
    __slots__ = ("reply", "summary")
    REPLY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    reply: IndexedReply
    summary: GenerateRepliesResponse
    def __init__(self, reply: _Optional[_Union[IndexedReply, _Mapping]] = ..., summary: _Optional[_Union[GenerateRepliesResponse, _Mapping]] = ...) -> None: ...

class IndexedReply(_message.Message):
    __slots__ = ("index", "reply")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    index: int
    reply: Reply
    def __init__(self, index: _Optional[int] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ...) -> None: ...

class BatchGenerateRepliesRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[GenerateRepliesRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[GenerateRepliesRequest, _Mapping]]] = ...) -> None: ...

class BatchGenerateRepliesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResult, _Mapping]]] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: GenerateRepliesResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[GenerateRepliesResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "is_default", "variant", "preset", "corpus", "vocabulary_size", "limits", "default_sampling", "training")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    CORPUS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_SAMPLING_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    is_default: bool
    variant: str
    preset: str
    corpus: str
    vocabulary_size: int
    limits: ModelLimits
    default_sampling: Sampling
    training: Training
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., is_default: _Optional[bool] = ..., variant: _Optional[str] = ..., preset: _Optional[str] = ..., corpus: _Optional[str] = ..., vocabulary_size: _Optional[int] = ..., limits: _Optional[_Union[ModelLimits, _Mapping]] = ..., default_sampling: _Optional[_Union[Sampling, _Mapping]] = ..., training: _Optional[_Union[Training, _Mapping]] = ...) -> None: ...

class ModelLimits(_message.Message):
    __slots__ = ("context_turns", "context_tokens", "reply_tokens", "reply_count")
    CONTEXT_TURNS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPLY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPLY_COUNT_FIELD_NUMBER: _ClassVar[int]
    context_turns: int
    context_tokens: int
    reply_tokens: int
    reply_count: int
    def __init__(self, context_turns: _Optional[int] = ..., context_tokens: _Optional[int] = ..., reply_tokens: _Optional[int] = ..., reply_count: _Optional[int] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("commit", "data_fingerprint", "seed", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    DATA_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    commit: str
    data_fingerprint: str
    seed: int
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, commit: _Optional[str] = ..., data_fingerprint: _Optional[str] = ..., seed: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class GetDiversityRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetDiversityResponse(_message.Message):
    __slots__ = ("model_version", "windows")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    windows: _containers.RepeatedCompositeFieldContainer[DiversityWindow]
    def __init__(self, model_version: _Optional[str] = ..., windows: _Optional[_Iterable[_Union[DiversityWindow, _Mapping]]] = ...) -> None: ...

class DiversityWindow(_message.Message):
    __slots__ = ("scope", "source", "window_tokens", "distinct_1", "distinct_2", "is_full")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_1_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_2_FIELD_NUMBER: _ClassVar[int]
    IS_FULL_FIELD_NUMBER: _ClassVar[int]
    scope: DiversityScope
    source: ReplySource
    window_tokens: int
    distinct_1: float
    distinct_2: float
    is_full: bool
    def __init__(self, scope: _Optional[_Union[DiversityScope, str]] = ..., source: _Optional[_Union[ReplySource, str]] = ..., window_tokens: _Optional[int] = ..., distinct_1: _Optional[float] = ..., distinct_2: _Optional[float] = ..., is_full: _Optional[bool] = ...) -> None: ...
