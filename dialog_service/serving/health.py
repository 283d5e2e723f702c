"""grpc.health.v1: the process is alive (""), and the service is ready (its name)."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_health.v1.health import aio  # type: ignore[import-untyped]

from dialog_service.v1 import dialog_pb2

SERVICE = dialog_pb2.DESCRIPTOR.services_by_name["DialogService"].full_name
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Health:
    """The health service of one server."""

    def __init__(self) -> None:
        """Neither alive nor ready before the first call."""
        self._servicer = aio.HealthServicer()

    def register(self, server: grpc.aio.Server) -> None:
        """Answer health checks on a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def show(self, *, is_ready: bool) -> None:
        """Say that the process is alive, and whether the service takes requests."""
        status = health_pb2.HealthCheckResponse
        await self._servicer.set("", status.SERVING)
        await self._servicer.set(SERVICE, status.SERVING if is_ready else status.NOT_SERVING)
