"""Time and memory of something known."""

import time

import pytest
import torch

from train.benchmark.clock import Clock, MemoryGauge
from train.launch import keep_freed_memory

CPU = torch.device("cpu")


def test_seconds_of_a_nap():
    began = time.perf_counter()
    found = Clock(CPU).seconds(lambda: time.sleep(0.02))
    assert 0.02 <= found <= time.perf_counter() - began


def test_memory_that_was_taken_and_given_back_counts():
    """Also where what was freed before is kept, as training has it."""
    keep_freed_memory()
    before = [torch.ones(64 << 20, dtype=torch.uint8) for _ in range(3)]
    del before
    gauge = MemoryGauge(CPU)
    held = torch.ones(64 << 20, dtype=torch.uint8)
    del held
    assert gauge.peak_bytes() - gauge.held_bytes >= 60 << 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_waited_for_and_its_memory_counted():
    device = torch.device("cuda")
    gauge, clock = MemoryGauge(device), Clock(device)
    values = torch.rand(4096, 4096, device=device)
    one = clock.seconds(lambda: values @ values)
    assert clock.seconds(lambda: [values @ values for _ in range(50)]) > 5 * one
    assert gauge.peak_bytes() - gauge.held_bytes >= 2 * 4 * 4096**2
