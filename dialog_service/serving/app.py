"""The server put together: listen, load, warm up, serve, drain, stop. Makes everything, once."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import prometheus_client
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from dialog_service.errors import ConfigError
from dialog_service.serving.admission import Admission, Phase
from dialog_service.serving.blocked_phrases import Blocklist
from dialog_service.serving.cache import CandidatePools
from dialog_service.serving.checkpoint_places import load_model
from dialog_service.serving.embedded_redis import EmbeddedRedis
from dialog_service.serving.health import HEALTH_SERVICE, SERVICE, Health
from dialog_service.serving.interceptors import CallInterceptor
from dialog_service.serving.live_diversity import LiveDiversity
from dialog_service.serving.metrics import Metrics
from dialog_service.serving.model_host import ModelHost
from dialog_service.serving.model_watch import ModelLoader, ModelWatch
from dialog_service.serving.pooled_answers import PooledAnswers
from dialog_service.serving.pools import PoolSettings
from dialog_service.serving.rate_limit import RateLimit
from dialog_service.serving.registry import ModelRegistry
from dialog_service.serving.responder import Responder
from dialog_service.serving.security import Callers, CertificateFiles, ServerCertificate
from dialog_service.serving.servicer import DialogServicer, requests_in
from dialog_service.serving.settings import Settings
from dialog_service.serving.shared_port import refusal
from dialog_service.serving.signals import Signals
from dialog_service.serving.tracing import Tracer, tracer_for
from dialog_service.serving.validation import ServerLimits, Strategy
from dialog_service.v1 import dialog_pb2_grpc

_FIGURES_SECONDS = 1.0  # between two updates of the diversity gauges
_QUIET_SECONDS = 0.25  # without a call before the server stops,
_GATHER_SECONDS = 3.0  # unless they do not cease for so long
_GOODBYE_SECONDS = 0.2  # for clients to hear that their connection ends
_FLUSH_SECONDS = 0.7  # for that, and for the last bytes of answers when the server stops
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens; ``metrics`` None where it does not."""

    grpc: str
    metrics: str | None


class Server:
    """One server; ``load`` makes a model of a checkpoint, ``clock`` is the time of rate limits."""

    def __init__(
        self,
        settings: Settings,
        load: ModelLoader = load_model,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing runs before ``start``."""
        self.metrics = Metrics()
        self._settings = settings
        self._load = load
        self._clock = clock
        self._registry = ModelRegistry()
        self._models: ModelWatch | None = None
        self._admission = Admission()
        self._health = Health()
        self._closing = contextlib.AsyncExitStack()

    async def start(self) -> Addresses:
        """Listen, load and warm up the models, and take requests.

        Raises:
            UserError: a setting, a checkpoint, or a port that another server has.
        """
        try:
            return await self._start()
        except BaseException:
            await self.close()
            raise

    def reload(self) -> None:
        """Look at once for checkpoints that are new, changed or removed."""
        if self._models:
            self._models.reload()

    async def drain(self, *, delay_seconds: float) -> None:
        """Say that the server is not ready, serve on a while, refuse, and finish what it has."""
        await self._health.show(is_ready=False)
        if self._models:
            await self._models.stop()
        await asyncio.sleep(delay_seconds)
        self._admission.close()
        if not await self._admission.wait_until_idle(self._settings.drain_grace_seconds):
            _log.warning("requests were cut off: drain_grace_seconds have passed")

    async def close(self) -> None:
        """Stop everything, what is under way too; may be called twice."""
        await self._closing.aclose()

    async def _start(self) -> Addresses:
        tracer = tracer_for(self._settings.otlp_endpoint)
        self._closing.push_async_callback(asyncio.to_thread, tracer.close)
        url = await self._redis_url()
        live = LiveDiversity(
            url, window_tokens=self._settings.diversity_window_tokens, observer=self.metrics
        )
        pooled = await self._pooled_answers(url)
        server = self._grpc_server(live, pooled, tracer)
        self._closing.push_async_callback(self._stop, server)
        await self._health.show(is_ready=False)
        # One of several is given connections as soon as it listens, which others could answer.
        is_alone = self._settings.processes == 1
        grpc_address = await self._listen(server) if is_alone else ""
        if pooled:
            self._closing.push_async_callback(pooled.close)
        await self._watch(live)
        metrics_address = self._expose_metrics()
        await self._load_models(live)
        self._admission.open()
        await self._health.show(is_ready=True)
        return Addresses(grpc_address or await self._listen(server), metrics_address)

    async def _redis_url(self) -> str | None:
        """Where Redis is; None where there is none."""
        url = self._settings.redis_url
        if url != "embedded":
            return None if url == "off" else url
        redis = EmbeddedRedis()
        self._closing.push_async_callback(redis.close)
        found = await redis.start()
        if found is None:
            _log.warning("no Redis server here: pools stay in this process (cache DEGRADED)")
        return found

    async def _pooled_answers(self, url: str | None) -> PooledAnswers | None:
        settings = self._settings
        if settings.redis_url == "off":
            return None
        rules = PoolSettings(
            capacity=settings.cache_pool_size,
            ttl_seconds=settings.cache_ttl_seconds,
            timeout_seconds=settings.cache_timeout_seconds,
        )
        pools = CandidatePools(url, rules, self.metrics)
        self._closing.push_async_callback(pools.close)
        await pools.start()
        return PooledAnswers(
            pools,
            most_at_once=min(settings.cache_pool_size, settings.queue_capacity_sequences),
            shared_deadline_seconds=settings.default_deadline_seconds,
        )

    def _grpc_server(
        self, live: LiveDiversity, pooled: PooledAnswers | None, tracer: Tracer
    ) -> grpc.aio.Server:
        """Not started; requests are refused until the models are there."""
        settings = self._settings
        on_refusal = self.metrics.requests_shed.labels("rate_limit").inc
        rate_limit = RateLimit(settings.rate_limit_rps, on_refusal, self._clock)
        callers = Callers(settings.auth_tokens_file, rate_limit)
        server = grpc.aio.server(
            interceptors=[
                CallInterceptor(callers, self._admission, self.metrics, tracer, requests_in)
            ],
            options=(
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
                ("grpc.max_connection_age_ms", int(1000 * settings.max_connection_age_seconds)),
                # Two servers on one port: a mistake, where nobody asked for several.
                ("grpc.so_reuseport", int(settings.processes > 1)),
            ),
        )
        servicer = DialogServicer(
            Responder(self._registry, pooled, live, self.metrics, _server_limits(settings)),
            self._registry,
            live,
            default_deadline_seconds=settings.default_deadline_seconds,
            max_replies=settings.max_replies,
        )
        dialog_pb2_grpc.add_DialogServiceServicer_to_server(servicer, server)
        self._health.register(server)
        if settings.reflection:
            names = (SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        return server

    async def _listen(self, server: grpc.aio.Server) -> str:
        """Start a gRPC server; its address."""
        port = _bound(server, self._settings)
        await server.start()
        return f"{self._settings.grpc_address.rpartition(':')[0]}:{port}"

    async def _stop(self, server: grpc.aio.Server) -> None:
        """End every connection.

        A call that arrives while gRPC itself shuts down ends with CANCELLED, which says nothing of
        trying elsewhere. Whoever calls again at once would do so, over a connection that does not
        know yet; so after a drain its refusal waits until it does.
        """
        if self._admission.phase is Phase.DRAINING:
            await self._admission.gather(_QUIET_SECONDS, timeout_seconds=_GATHER_SECONDS)
        stopping = asyncio.create_task(server.stop(_FLUSH_SECONDS))
        if self._admission.held:
            await asyncio.sleep(_GOODBYE_SECONDS)
        self._admission.release()
        await stopping

    async def _watch(self, live: LiveDiversity) -> None:
        """Keep the gauges of diversity up to date."""
        await live.start()
        self._closing.push_async_callback(live.close)
        showing = asyncio.create_task(self._show_figures(live), name="diversity gauges")
        self._closing.push_async_callback(_cancelled, showing)

    async def _show_figures(self, live: LiveDiversity) -> None:
        while True:
            self.metrics.show(live.snapshot())
            await asyncio.sleep(_FIGURES_SECONDS)

    def _expose_metrics(self) -> str | None:
        """Open /metrics; its address, or None where it is off."""
        if self._settings.metrics_address == "off":
            return None
        host, _, port = self._settings.metrics_address.rpartition(":")
        try:
            server, _ = prometheus_client.start_http_server(
                int(port), host.strip("[]"), self.metrics.registry
            )
        except OSError as error:
            raise ConfigError(
                f"cannot show metrics on {self._settings.metrics_address}: {error.strerror}"
            ) from error
        self._closing.callback(server.server_close)
        self._closing.push_async_callback(asyncio.to_thread, server.shutdown)
        return f"{host}:{server.server_port}"

    async def _load_models(self, live: LiveDiversity) -> None:
        """Load the models, and keep them in step with the disk."""
        settings, metrics = self._settings, self.metrics
        blocklist = Blocklist(settings.blocked_phrases_file, metrics.blocked_candidates.inc)
        host = ModelHost(self._registry, settings, blocklist, metrics, live)
        self._closing.push_async_callback(host.close)
        self._models = ModelWatch(settings, self._load, host, self._registry, metrics)
        self._closing.push_async_callback(self._models.stop)
        await self._models.start()


async def run(
    settings: Settings,
    on_ready: Callable[[Addresses], None],
    load: ModelLoader,
    orders: int | None = None,
) -> None:
    """Serve until SIGTERM, or Ctrl-C, which does not wait for load balancers; reload on SIGHUP.

    Args:
        settings: of the server.
        on_ready: told where it listens, once it takes requests.
        load: makes a model of a checkpoint.
        orders: a pipe that tells the same as signals, where there is one.

    Raises:
        UserError: the server could not start.
    """
    server = Server(settings, load)
    signals = Signals(server.reload)
    if orders is not None:
        signals.obey(orders)
    try:
        starting = asyncio.create_task(server.start())
        either: set[asyncio.Future[Any]] = {starting, signals.ending}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            await _cancelled(starting)
            return
        on_ready(await starting)
        received = await signals.ending
        _log.info("draining", extra={"signal": received.name})
        is_balanced = received is signal.SIGTERM
        await server.drain(delay_seconds=settings.drain_delay_seconds if is_balanced else 0)
    finally:
        await server.close()


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _server_limits(settings: Settings) -> ServerLimits:
    """What a request may ask for; one that no queue could take would be refused for ever."""
    return ServerLimits(
        max_replies=settings.max_replies,
        max_candidates=min(settings.max_candidates, settings.queue_capacity_sequences),
        strategy=Strategy[settings.selection.upper()],
    )


def _bound(server: grpc.aio.Server, settings: Settings) -> int:
    """The port that a server got at its address, with TLS where there is a certificate."""
    address = settings.grpc_address
    credentials = _credentials(CertificateFiles(settings))
    try:
        if credentials:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise refusal(address) from error


def _credentials(files: CertificateFiles) -> grpc.ServerCredentials | None:
    """Of the certificate in some files, for each connection as they are then; None without one."""
    first = files.read()
    if first is None:
        return None

    def renewed() -> Any:  # None is no news, which the stubs do not know
        found = files.renewed()
        return _configuration(found) if found else None

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first), renewed, require_client_authentication=first.client_ca is not None
    )


def _configuration(certificate: ServerCertificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificate.key, certificate.certificate)], root_certificates=certificate.client_ca
    )
