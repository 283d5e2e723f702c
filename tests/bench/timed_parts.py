"""Where the time of a request goes inside the service: its functions, timed where they are called.

The functions are those of the service itself, wrapped while a block lasts. Of those that do not
wait, what counts is the time that their thread worked, and the time of one that another one calls
is that one's alone.
"""

import contextlib
import enum
import functools
import inspect
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from unittest import mock

from dialog_service.engine import Engine
from dialog_service.generation import Generator
from dialog_service.serving import interceptors, responder, servicer
from dialog_service.serving.cache import CandidatePools
from dialog_service.serving.interceptors import CallInterceptor
from dialog_service.serving.live_diversity import LiveDiversity
from dialog_service.serving.pools import PoolKey
from dialog_service.serving.responder import Responder


class Part(enum.StrEnum):
    """Of the work for a request."""

    PARSE = "protobuf: bytes to message"
    READ = "message to request"
    VALIDATE = "validation"
    KEY = "key of the pool"
    DRAW = "cache: draw"
    ADD = "cache: add"
    TOKENISE = "tokenising"
    ENCODE = "encoding"
    DECODE = "decoding"
    SAY = "text of replies"
    SELECT = "selection"
    DIVERSITY = "Dist-n, reply metrics"
    BUILD = "response to message"
    RECORD = "call metrics, log"


# By whom, under what name; Redis is waited for, so others may work meanwhile.
_WAITING = {Part.DRAW: [(CandidatePools, "draw")], Part.ADD: [(CandidatePools, "add")]}
_WORKING: dict[Part, list[tuple[Any, str]]] = {
    Part.PARSE: [(interceptors, "_message")],
    Part.READ: [(servicer, "_reply_request")],
    Part.VALIDATE: [(Responder, "_ask")],
    Part.KEY: [(PoolKey, "of")],
    Part.TOKENISE: [(Generator, "_encoded")],
    Part.ENCODE: [(Engine, "states"), (Engine, "codes_of")],
    Part.DECODE: [(Generator, "generate")],  # less what it calls of the others
    Part.SAY: [(Generator, "_said")],
    Part.SELECT: [(responder, "select")],
    Part.DIVERSITY: [
        (responder, "_tokens"),
        (responder, "distinct_ratio"),
        (LiveDiversity, "record"),
        (Responder, "_count"),
    ],
    Part.BUILD: [(servicer, "_response")],
    Part.RECORD: [(CallInterceptor, "_record")],
}


class _Inside(threading.local):
    """Time of the timed functions that the present one of this thread has called."""

    seconds = 0.0


class TimedParts:
    """Seconds of each part until now."""

    def __init__(self) -> None:
        """None yet."""
        self.seconds: defaultdict[Part, float] = defaultdict(float)
        self._inside = _Inside()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Time the service's functions while a block lasts."""
        with contextlib.ExitStack() as stack:
            for wrap, parts in ((self._working, _WORKING), (self._waiting, _WAITING)):
                for part, places in parts.items():
                    for owner, name in places:
                        stack.enter_context(_wrapped(owner, name, functools.partial(wrap, part)))
            yield

    def _working(self, part: Part, function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def timed(*args: object, **kwargs: object) -> object:
            before, self._inside.seconds = self._inside.seconds, 0.0
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.thread_time() - start
                self.seconds[part] += taken - self._inside.seconds
                self._inside.seconds = before + taken

        return timed

    def _waiting(
        self, part: Part, function: Callable[..., Coroutine[Any, Any, object]]
    ) -> Callable[..., Coroutine[Any, Any, object]]:
        @functools.wraps(function)
        async def timed(*args: object, **kwargs: object) -> object:
            start = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - start

        return timed


def _wrapped(
    owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> contextlib.AbstractContextManager[object]:
    """A function, or a method of a class, wrapped while a block lasts."""
    is_of_class = isinstance(inspect.getattr_static(owner, name), classmethod)
    timed = wrap(getattr(owner, name))
    return mock.patch.object(owner, name, staticmethod(timed) if is_of_class else timed)
