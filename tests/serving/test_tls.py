"""TLS and mTLS over real sockets: the API, health, reflection and both clients."""

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest
from certificates import Certificates, Pair
from echo_server import no_model, running
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dialog_service.client import AsyncDialogClient, CallFailed, DialogClient, Tls
from dialog_service.errors import ConfigError
from dialog_service.serving.app import Server
from dialog_service.serving.settings import Settings, load_settings


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def test_everything_is_offered_over_tls(made: Certificates):
    async with running(credentials=made.tls().credentials(), **made.settings) as service:
        assert (await service.ask()).replies
        health = health_pb2_grpc.HealthStub(service.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
        stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = await anext(aiter(stub.ServerReflectionInfo(iter([asked]))))
        assert answer.list_services_response.service


async def test_both_clients_speak_tls(made: Certificates):
    def talk(target: str) -> int:
        with DialogClient(target, tls=made.tls()) as client:
            assert client.is_ready()
            return len(client.ask("hello", reply_count=2).replies)

    async with running(**made.settings) as service:
        assert await asyncio.to_thread(talk, service.addresses.grpc) == 2
        async with AsyncDialogClient(service.addresses.grpc, tls=made.tls()) as client:
            assert len((await client.ask("hello", reply_count=3)).replies) == 3


async def failure(target: str, tls: Tls | None) -> CallFailed:
    async with AsyncDialogClient(target, tls=tls, timeout_seconds=60) as client:
        with pytest.raises(CallFailed) as failed:
            await client.list_models()
    return failed.value


async def test_who_speaks_no_tls_or_trusts_another_authority_gets_nothing(made: Certificates):
    async with running(**made.settings) as service:
        other = Tls(ca=made.stranger.cert)
        for tls in (None, other, Tls()):  # the last trusts public authorities
            assert (await failure(service.addresses.grpc, tls)).status == "UNAVAILABLE"
        assert not service.model.batches


async def test_mtls_asks_clients_for_a_certificate_of_the_authority(made: Certificates):
    async with running(**made.mutual) as service:
        async with AsyncDialogClient(service.addresses.grpc, tls=made.tls(made.client)) as client:
            assert (await client.ask("hello")).replies
            assert await client.is_ready()
        for own in (None, made.stranger):
            failed = await failure(service.addresses.grpc, made.tls(own))
            assert (failed.status, failed.request_id) == ("UNAVAILABLE", "")


async def test_a_certificate_for_another_name_needs_that_name(made: Certificates):
    settings = {"tls_cert": made.elsewhere.cert, "tls_key": made.elsewhere.key}
    async with running(**settings) as service:
        target = service.addresses.grpc
        assert (await failure(target, made.tls())).status == "UNAVAILABLE"
        named = Tls(ca=made.ca, server_name="dialog.example")
        async with AsyncDialogClient(target, tls=named) as client:
            assert await client.is_ready()


async def test_a_certificate_that_is_replaced_serves_the_next_connections(
    made: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def put(pair: Pair) -> None:
        cert.write_bytes(pair.cert.read_bytes())
        key.write_bytes(pair.key.read_bytes())

    async def ask_anew(name: str) -> str:
        own = (("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", name))
        credentials = made.tls().credentials()
        async with grpc.aio.secure_channel(service.addresses.grpc, credentials, own) as channel:
            try:
                stub = health_pb2_grpc.HealthStub(channel)
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

    put(made.server)
    files = {"tls_cert": cert, "tls_key": key}
    async with running(credentials=made.tls().credentials(), **files) as service:
        assert (await service.ask()).replies
        assert await ask_anew("dialog.example") == "UNAVAILABLE"
        cert.write_bytes(made.elsewhere.cert.read_bytes())  # and not the key that goes with it
        assert [await ask_anew("127.0.0.1") for _ in range(2)] == ["OK", "OK"]
        put(made.elsewhere)
        assert await ask_anew("dialog.example") == "OK"
        assert await ask_anew("127.0.0.1") == "UNAVAILABLE"
        assert (await service.ask()).replies  # over the connection from before
    assert caplog.text.count("the certificate before it goes on") == 1


async def test_a_client_authority_that_is_replaced_is_the_one_that_counts(
    made: Certificates, tmp_path: Path
):
    authority = tmp_path / "ca.crt"
    authority.write_bytes(made.ca.read_bytes())
    async with running(**{**made.mutual, "tls_client_ca": authority}) as service:
        authority.write_bytes(made.stranger.cert.read_bytes())
        failed = await failure(service.addresses.grpc, made.tls(made.client))
        assert failed.status == "UNAVAILABLE"
        async with AsyncDialogClient(service.addresses.grpc, tls=made.tls(made.stranger)) as client:
            assert await client.is_ready()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tls_cert": "a"}, "tls_cert and tls_key go together"),
        ({"tls_key": "a"}, "tls_cert and tls_key go together"),
        ({"tls_client_ca": "a"}, "tls_client_ca needs tls_cert"),
    ],
)
def test_half_of_the_settings_stops_the_start(flags: dict[str, str], said: str):
    with pytest.raises(ConfigError, match=said):
        load_settings(flags)


async def test_files_that_cannot_be_used_stop_the_start(made: Certificates, tmp_path: Path):
    text = tmp_path / "text"
    text.write_text("no certificate")
    locked = tmp_path / "locked.key"
    command = ("openssl", "pkey", "-in", made.server.key, "-aes128", "-passout", "pass:secret")
    subprocess.run((*command, "-out", locked), check=True)
    for wrong in (
        {"tls_key": made.client.key},
        {"tls_key": locked},
        {"tls_cert": text},
        {"tls_cert": tmp_path / "absent"},
        {"tls_client_ca": text},
        {"tls_client_ca": made.server.key},
    ):
        [path] = wrong.values()
        listening = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": "off"}
        settings = Settings(**listening, **{**made.settings, **wrong})
        with pytest.raises(ConfigError, match=str(path)):
            await Server(settings, load=no_model).start()


def test_a_client_names_the_file_that_is_missing(made: Certificates, tmp_path: Path):
    with pytest.raises(ConfigError, match="absent"):
        DialogClient(tls=Tls(ca=tmp_path / "absent"))
    with pytest.raises(ConfigError, match="go together"):
        DialogClient(tls=Tls(cert=made.client.cert))
