"""Devices are picked in one place, and a batch that does not fit is halved."""

import platform
import subprocess
import sys

import pytest
import torch
import toys

from labsupport.core import device as devices
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting


@pytest.fixture(autouse=True)
def nobody_decided(monkeypatch):
    monkeypatch.delenv(devices.VARIABLE, raising=False)


def machine(monkeypatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_the_fastest_device_is_picked(monkeypatch):
    for hardware, kind in (
        ({}, "cpu"),
        ({"mps": True}, "mps"),
        ({"cuda": 1}, "cuda"),
        ({"cuda": 1, "mps": True}, "cuda"),
    ):
        machine(monkeypatch, **hardware)
        assert devices.pick().type == devices.pick("auto").type == kind
        assert (devices.available()[0], devices.available()[-1]) == (kind, "cpu")


def test_the_variable_overrides_and_a_name_overrides_the_variable(monkeypatch):
    machine(monkeypatch, cuda=2)
    monkeypatch.setenv(devices.VARIABLE, "cpu")
    assert devices.pick() == torch.device("cpu")
    assert devices.pick("cuda:1") == torch.device("cuda:1")
    assert devices.pick(torch.device("cuda")) == torch.device("cuda")
    for nothing in ("", "auto"):
        monkeypatch.setenv(devices.VARIABLE, nothing)
        assert devices.pick().type == "cuda"


def test_a_device_that_is_not_there(monkeypatch):
    machine(monkeypatch)
    for name in ("gpu", "cuda", "cuda:0", "mps", "meta", "xla", "CPU!"):
        with pytest.raises(BadSetting, match=rf"no device '{name}'.*has cpu.*LABS_DEVICE"):
            devices.pick(name)
        monkeypatch.setenv(devices.VARIABLE, name)
        with pytest.raises(BadSetting, match="no device"):
            networks.load("lenet5")
    machine(monkeypatch, cuda=1)
    assert devices.pick("cuda:0").index == 0
    with pytest.raises(BadSetting, match="cuda:1"):
        devices.pick("cuda:1")


def test_devices_in_words(monkeypatch):
    for threads, words in ((1, "1 thread)"), (2, "2 threads)")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert words in devices.describe(torch.device("cpu"))
    assert "MPS" in devices.describe(torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla")
    assert devices.describe(torch.device("cuda")) == "GPU (Tesla)"


# Batches


class Small:
    """A function on a device that holds `room` items, and notes the batches it was given."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error = room, error
        self.sizes: list[int] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return batch.flatten(1).sum(1) * 2


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_out_of_memory_halves_the_batch_and_changes_nothing(error):
    items, small, shares = toys.image(4, count=21), Small(3, error), []
    result = devices.in_batches(small, items, batch=16, progress=shares.append)
    assert torch.equal(result, items.flatten(1).sum(1) * 2)
    assert small.sizes == [16, 8, 4, 2, *[2] * 9, 1]
    assert shares == [*(done / 21 for done in range(2, 21, 2)), 1.0]
    small = Small(0, error)
    with pytest.raises(BadSetting, match=r"a single item of 3 x 4 x 4 .*smaller images") as raised:
        devices.in_batches(small, items[:3], batch=4)
    assert raised.value.__cause__ is error
    assert small.sizes == [3, 1]  # what does not fit is not tried twice


def test_what_this_machines_cpu_says_counts_as_a_lack_of_memory_and_other_errors_do_not():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**46)
    assert devices.out_of_memory(raised.value)
    assert not devices.out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    small = Small(0, RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        devices.in_batches(small, toys.image(4, count=3), batch=4)
    assert small.sizes == [3]


def test_batches_cover_everything_in_order_and_progress_rises_to_one():
    items = toys.image(4, count=7)
    for batch in (1, 2, 5, 100, None):
        for given in (items, list(items)):
            result = devices.in_batches(lambda x: x.flatten(1), given, batch=batch)
            assert torch.equal(result, items.flatten(1)), batch
    shares: list[float] = []
    devices.in_batches(lambda x: x, items[:5], batch=2, progress=shares.append)
    assert shares == [0.4, 0.8, 1.0]
    assert devices.in_batches(lambda x: x, items[:0]).numel() == 0


def test_no_graph_is_kept_and_results_come_back_in_single_precision():
    items, weight = toys.image(4, 5, count=2), torch.ones(1, requires_grad=True)
    assert not devices.in_batches(lambda x: x * weight, items).requires_grad
    assert torch.is_grad_enabled()
    assert devices.in_batches(lambda x: x.bfloat16(), items).dtype == torch.float32
    assert devices.in_batches(lambda x: x.flatten(1).argmax(1), items).dtype == torch.int64
    # images travel channels-last, and vectors as they are
    seen: list[torch.Tensor] = []
    for given in (items, torch.rand(3, 7)):
        devices.in_batches(lambda x: seen.append(x) or x, given)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[1].shape == (3, 7)


# Memory


@pytest.fixture
def free(monkeypatch, tmp_path):
    """A machine that says what it has: `free(meminfo, limit, used)`."""

    def say(available: int | None, limit: str = "max", used: int = 0) -> int | None:
        files = [tmp_path / name for name in ("meminfo", "limit", "used")]
        if available is not None:
            files[0].write_text(f"MemTotal: 99 kB\nMemAvailable: {available} kB\n")
        files[1].write_text(limit + "\n")
        files[2].write_text(f"{used}\n")
        monkeypatch.setattr(devices, "_MEMORY", files[0])
        monkeypatch.setattr(devices, "_LIMITS", ((files[1], files[2]),))
        return devices.free_memory(torch.device("cpu"))

    return say


def test_free_memory_is_what_the_machine_and_its_container_leave_and_a_gpu_has_its_own(
    free, monkeypatch
):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 100}
    monkeypatch.setattr(devices.os, "sysconf_names", pages, raising=False)
    monkeypatch.setattr(devices.os, "sysconf", pages.__getitem__, raising=False)
    assert free(None) == 4096 * 50  # where nobody tells, half of the memory
    monkeypatch.setattr(devices.os, "sysconf_names", {}, raising=False)
    assert free(None) is None
    assert free(1000) == 1024 * 1000
    assert free(1000, limit="50000", used=20000) == 30000
    assert free(1, limit="50000", used=20000) == 1024
    assert free(1000, limit="50000", used=70000) == 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (700, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    assert devices.free_memory(torch.device("cuda")) == 730


PAGES = """
import resource, torch
from labsupport import networks
pool1, images = networks.load().up_to("pool1"), torch.rand(8, 3, 224, 224)
with torch.no_grad():
    pool1(images)
    first = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        pool1(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
def test_a_pass_has_the_memory_of_the_pass_before():
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, check=True)
    assert int(done.stdout) < 6000  # of 4 KiB each: one pass of these four takes 13 000 fresh ones
