"""What a caller is told of an error: a google.rpc.Status, of a call or of one item of a batch."""

import logging

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]

from dialog_service.errors import InvalidRequest, NotReady, Overloaded, RequestError

# Trailing metadata beyond 8 KiB would be refused by clients, and the status with it.
_MESSAGE_CHARACTERS = 1000
_MAX_VIOLATIONS = 30
_log = logging.getLogger(__name__)


def status_of(error: BaseException, request_id: str) -> status_pb2.Status:
    """The status of an error with its details.

    What is none of the caller's business is INTERNAL: its message is the request id alone, and the
    error goes to the log.
    """
    if not isinstance(error, RequestError) or error.status == "INTERNAL":
        _log.error("a call failed", exc_info=error, extra={"request_id": request_id})
        message = f"internal error; request id {request_id}"
        return status_pb2.Status(code=code_pb2.INTERNAL, message=message)
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.status),
        message=str(error)[:_MESSAGE_CHARACTERS],
        details=_details(error),
    )


def _details(error: RequestError) -> list[any_pb2.Any]:
    """What the status of an error carries besides its message."""
    if isinstance(error, InvalidRequest):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations[:_MAX_VIOLATIONS]
        ]
        return [_packed(error_details_pb2.BadRequest(field_violations=violations))]
    if isinstance(error, Overloaded | NotReady):
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        return [_packed(error_details_pb2.RetryInfo(retry_delay=delay))]
    return []


def _packed(message: Message) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail
