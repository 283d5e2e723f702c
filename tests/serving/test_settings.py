"""Where settings come from, which wins, and what stops the start."""

from pathlib import Path

import pytest

from dialog_service.errors import ConfigError
from dialog_service.serving.settings import Settings, check_names, load_settings, unknown_names


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DIALOG_{name.upper()}", raising=False)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "settings"
    file.write_text("DIALOG_MAX_REPLIES=7\nDIALOG_CACHE_POOL_SIZE=8\nDIALOG_MAX_WAIT_SECONDS=1\n")
    monkeypatch.setenv("DIALOG_CACHE_POOL_SIZE", "9")
    monkeypatch.setenv("DIALOG_MAX_WAIT_SECONDS", "2")
    settings = load_settings({"max_wait_seconds": "3"}, file)
    assert settings.max_replies == 7
    assert settings.cache_pool_size == 9
    assert settings.max_wait_seconds == 3.0


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIALOG_MAX_REPLIES", "")
    assert load_settings({}).max_replies == 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_wait_seconds", "soon"),
        ("max_wait_seconds", "-1"),
        ("max_replies", "33"),
        ("rate_limit_rps", "0"),
        ("max_input_tokens", "0"),
        ("cache_ttl_seconds", "inf"),
        ("max_connection_age_seconds", "1e9"),
        ("max_batch_sequences", "0"),
        ("processes", "0"),
        ("processes", "65"),
        ("grpc_address", "50051"),
        ("grpc_address", "localhost:70000"),
        ("metrics_address", "nowhere"),
        ("redis_url", "http://localhost"),
        ("otlp_endpoint", "localhost:4317"),
        ("precision", "fp8"),
        ("log_level", "loud"),
    ],
)
def test_a_value_that_cannot_be_names_the_setting_by_both_its_names(name: str, value: str):
    with pytest.raises(ConfigError) as refusal:
        load_settings({name: value})
    assert f"DIALOG_{name.upper()} (--{name.replace('_', '-')})" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "flags",
    [
        {"model": "a", "models": "b"},
        {"queue_capacity_sequences": "3", "max_replies": "4"},
        {"max_candidates": "3", "max_replies": "4"},
        {"metrics_address": "127.0.0.1:65534", "processes": "3"},
    ],
)
def test_settings_that_do_not_fit_together(flags: dict[str, str]):
    with pytest.raises(ConfigError):
        load_settings(flags)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAX_WAIT", "MAX_WAIT_SECONDS"),
        ("MAX_WAIT_SECOND", "MAX_WAIT_SECONDS"),
        ("MAX_WAIT_MS", "MAX_WAIT_SECONDS"),
        ("REDIS", "REDIS_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("GRPC_ADRESS", "GRPC_ADDRESS"),
        ("CACHE_TTL", "CACHE_TTL_SECONDS"),
        ("TLS_CERTS", "TLS_CERT"),
        ("QUEUE_CAPACITY", "QUEUE_CAPACITY_SEQUENCES"),
    ],
)
def test_a_near_miss_stops_the_start_with_a_suggestion(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"DIALOG_{name}", "1")
    with pytest.raises(ConfigError, match=f"DIALOG_{meant}\\?"):
        load_settings({})


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("[::1]:9095", ["[::1]:9095", "[::1]:9096"]),
        ("127.0.0.1:65534", ["127.0.0.1:65534", "127.0.0.1:65535"]),
        ("127.0.0.1:0", ["127.0.0.1:0"] * 2),
        ("off", ["off"] * 2),
    ],
)
def test_processes_show_figures_on_a_port_each(address: str, shown: list[str]):
    settings = load_settings({"processes": "2", "metrics_address": address})
    assert [settings.metrics_address_of(number) for number in (0, 1)] == shown


def test_names_that_kubernetes_injects_are_only_reported():
    injected = [
        "DIALOG_SERVICE_HOST",
        "DIALOG_SERVICE_PORT",
        "DIALOG_SERVICE_PORT_GRPC",
        "DIALOG_PORT",
        "DIALOG_PORT_50051_TCP",
        "DIALOG_PORT_50051_TCP_ADDR",
        "DIALOG_REDIS_SERVICE_HOST",
        "DIALOG_REDIS_PORT",
        "DIALOG_METRICS_PORT_9095_TCP_PROTO",
    ]
    assert check_names([*injected, "PATH", "DIALOG_MODELS"]) == injected


def test_the_settings_of_commands_that_call_are_left_alone():
    assert check_names(["DIALOG_CALL_TLS_CA", "DIALOG_CALL_TOKEN_FILE", "DIALOG_CALL_TARGET"]) == []


def test_an_unknown_name_stops_nothing_but_is_known_to_be_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "settings"
    file.write_text("DIALOG_SERVICE_PORT=1\n")
    monkeypatch.setenv("DIALOG_SERVICE_HOST", "10.0.0.1")
    load_settings({}, file)
    assert unknown_names(file) == ["DIALOG_SERVICE_HOST", "DIALOG_SERVICE_PORT"]


def test_a_near_miss_in_the_file_stops_the_start_too(tmp_path: Path):
    file = tmp_path / "settings"
    file.write_text("DIALOG_MAX_REPLYS=3\n")
    with pytest.raises(ConfigError, match="DIALOG_MAX_REPLIES"):
        load_settings({}, file)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        load_settings({}, tmp_path / "absent")


def test_settings_cannot_be_changed_and_every_one_is_described():
    with pytest.raises(ValueError, match="frozen"):
        Settings().max_replies = 3
    assert all(field.description for field in Settings.model_fields.values())
