"""Device, precision and processes of a run."""

import resource

import pytest
import torch

from dialog_service.errors import ConfigError
from train import launch
from train.launch import keep_freed_memory, launched


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize(
    ("precision", "chosen"), [("fp32", "32-true"), ("bf16", "bf16-mixed")], ids=["fp32", "bf16"]
)
def test_device_and_precision_are_as_asked_and_nobody_chatters(
    device: str,
    precision: str,
    chosen: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    fabric = launched(device, precision)
    assert fabric.device.type == "cpu"
    assert fabric.strategy.precision.precision == chosen
    assert (fabric.world_size, fabric.is_global_zero) == (1, True)
    shown = capfd.readouterr()
    assert (shown.out, shown.err, caplog.text) == ("", "", "")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(launch, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 processes need as many GPUs, there are 1; start"):
        launched("cuda", "fp32")


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library has no mallopt")
def test_what_a_step_frees_is_kept_for_the_next():
    """Sooner or later: what is small may come to lie in what a large tensor left."""
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(25_000_000)
        found = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        if found < 10:  # of 25,000 pages, or 50 huge ones
            return
    pytest.fail(f"{found} pages taken from the system, still")
