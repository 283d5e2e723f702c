"""Bearer tokens: who is answered, what others are told, and a file that changes."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from certificates import Certificates
from echo_server import Running, no_model, running
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dialog_service.client import AsyncDialogClient, CallFailed, DialogClient
from dialog_service.errors import ConfigError, Unauthenticated
from dialog_service.serving.app import Server
from dialog_service.serving.rate_limit import RateLimit
from dialog_service.serving.security import Callers, bearer_tokens
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb

REQUEST = pb.GenerateRepliesRequest(turns=[pb.Turn(text="hello")])
FREE = RateLimit(None, lambda: None)
FIRST, SECOND = "first-secret", "c2Vjb25k/+=="


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(f"# the web shop\n{FIRST}\n\n  {SECOND}\n")
    return file


async def status(service: Running, *authorizations: str) -> str:
    """How a call ends that carries these headers."""
    metadata = [("authorization", value) for value in authorizations]
    try:
        await service.stub.GenerateReplies(REQUEST, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_only_callers_with_a_known_token_are_answered(tokens: Path):
    async with running(auth_tokens_file=tokens) as service:
        for fit in (f"Bearer {FIRST}", f"bearer  {SECOND}"):
            assert await status(service, fit) == "OK"
        assert await status(service, "Bearer another", f"Bearer {FIRST}") == "OK"
        service.model.batches.clear()
        for unfit in (
            [],
            [""],
            [FIRST],
            [f"Basic {FIRST}"],
            ["Bearer"],
            ["Bearer "],
            [f"Bearer {FIRST}x"],
            [f"Bearer {FIRST[:-1]}"],
            ["Bearer # the web shop"],
        ):
            assert await status(service, *unfit) == "UNAUTHENTICATED", unfit
        assert not service.model.batches
        counted = {"method": "GenerateReplies", "code": "UNAUTHENTICATED"}
        assert service.metric("dialog_requests_total", **counted) == 9


async def test_every_method_asks_for_a_token_and_says_how_to_show_one(tokens: Path):
    async def failure(call) -> CallFailed:
        with pytest.raises(CallFailed) as failed:
            await call
        return failed.value

    async with running(auth_tokens_file=tokens) as service:
        for token, said in (("", "asks for a token"), ("another", "does not know the token")):
            async with AsyncDialogClient(service.addresses.grpc, token=token) as client:
                for call in (
                    client.ask("hello"),
                    anext(client.stream_replies(REQUEST)),
                    client.batch_generate_replies([REQUEST]),
                    client.list_models(),
                    client.get_model(),
                    client.get_diversity(),
                ):
                    failed = await failure(call)
                    assert failed.status == "UNAUTHENTICATED"
                    assert said in failed.message
                    assert "authorization: Bearer TOKEN" in failed.message
                    assert failed.request_id
        assert not service.model.batches


async def test_clients_show_a_token_with_every_call(tokens: Path):
    def talk(target: str) -> int:
        with DialogClient(target, token=SECOND) as client:
            assert client.list_models().models
            events = list(client.stream_replies(REQUEST))
            return len(events) + len(client.ask("hello").replies)

    async with running(auth_tokens_file=tokens) as service:
        assert await asyncio.to_thread(talk, service.addresses.grpc) == 11
        async with AsyncDialogClient(service.addresses.grpc, token=f"{FIRST}\n") as client:
            assert (await client.ask("hello")).replies
            assert len([event async for event in client.stream_replies(REQUEST)]) == 6


async def test_tokens_over_tls(tokens: Path, tmp_path: Path):
    made = Certificates(tmp_path)
    async with running(auth_tokens_file=tokens, **made.mutual) as service:
        target, tls = service.addresses.grpc, made.tls(made.client)
        async with AsyncDialogClient(target, tls=tls, token=FIRST) as client:
            assert (await client.ask("hello")).replies
        async with AsyncDialogClient(target, tls=tls) as client:  # a certificate is not enough
            assert await client.is_ready()
            with pytest.raises(CallFailed, match="UNAUTHENTICATED"):
                await client.ask("hello")


async def test_health_checks_need_no_token(tokens: Path):
    async with running(auth_tokens_file=tokens) as service:
        health = health_pb2_grpc.HealthStub(service.channel)
        for name in ("", "dialog_service.v1.DialogService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_file_is_read_again_when_it_changes(
    tokens: Path, caplog: pytest.LogCaptureFixture
):
    async def ends(service: Running) -> list[str]:
        return [await status(service, f"Bearer {token}") for token in (FIRST, "third")]

    async with running(auth_tokens_file=tokens) as service:
        assert await ends(service) == ["OK", "UNAUTHENTICATED"]
        tokens.write_text("third\n")
        assert await ends(service) == ["UNAUTHENTICATED", "OK"]
        tokens.write_text("fourth one\n")  # no token: what was said before goes on
        assert await ends(service) == ["UNAUTHENTICATED", "OK"]
        tokens.unlink()
        assert await ends(service) == ["UNAUTHENTICATED", "OK"]
        complaints = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert len(complaints) == 2
        assert "line 1" in complaints[0].getMessage()
        other = tokens.with_name("other")
        other.write_text(f"{FIRST}\n")
        other.rename(tokens)
        assert await ends(service) == ["OK", "UNAUTHENTICATED"]
        tokens.write_text("")  # nobody's from now on
        assert await ends(service) == ["UNAUTHENTICATED", "UNAUTHENTICATED"]


async def test_no_token_is_ever_logged(tokens: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with running(auth_tokens_file=tokens) as service:
        for token in (FIRST, "wrong-secret"):
            await status(service, f"Bearer {token}")
        tokens.write_text("secret with spaces")
        await status(service, f"Bearer {SECOND}")
    written = str([str(vars(record)) for record in caplog.records])
    assert "GenerateReplies" in written
    assert "secret" not in written
    assert SECOND not in written


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no token"), ("# none\n", "no token"), ("fit\nnot fit\n", "line 2"), (None, "No such")],
)
async def test_a_file_without_tokens_stops_the_start(tmp_path: Path, text: str | None, said: str):
    file = tmp_path / "tokens"
    if text is not None:
        file.write_text(text)
    settings = Settings(
        grpc_address="127.0.0.1:0", metrics_address="off", redis_url="off", auth_tokens_file=file
    )
    with pytest.raises(ConfigError, match=said) as refusal:
        await Server(settings, load=no_model).start()
    assert str(file) in str(refusal.value)
    assert "fit" not in str(refusal.value).replace(str(file), "")


def test_tokens_are_one_a_line():
    assert bearer_tokens(f"{FIRST}\r\n\n#x\n {SECOND} ") == (FIRST, SECOND)
    for unfit in ("two words", "caf\u00e9", '"quoted"', "a=b"):
        with pytest.raises(ValueError, match="line 1"):
            bearer_tokens(unfit)


class Call:
    """A call as gRPC tells of it."""

    def __init__(self, peer: str, names: Sequence[bytes] | None = None, token: str = "") -> None:
        self._peer, self._names, self._token = peer, names, token

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self._token}")]

    def peer(self) -> str:
        return self._peer

    def peer_identities(self) -> Sequence[bytes] | None:
        return self._names


def test_callers_are_told_apart_by_token_else_certificate_else_address(tokens: Path):
    here, there = "ipv4:10.0.0.1:5", "ipv6:[::1]:6"
    by_address = Callers(None, FREE).identify
    assert by_address(Call(here)) == by_address(Call("ipv4:10.0.0.1:77")) == "address ipv4:10.0.0.1"
    assert by_address(Call(there)) == "address ipv6:[::1]"
    assert by_address(Call(here, [b"shop"])) == by_address(Call(there, [b"shop"]))
    assert by_address(Call(here, [b"shop"])) != by_address(Call(here, [b"bank"]))
    by_token = Callers(tokens, FREE).identify
    assert by_token(Call(here, token=FIRST)) == by_token(Call(there, [b"shop"], FIRST))
    assert by_token(Call(here, token=FIRST)) != by_token(Call(here, token=SECOND))
    assert FIRST not in by_token(Call(here, token=FIRST))
    with pytest.raises(Unauthenticated):
        by_token(Call(here, [b"shop"], "another"))
