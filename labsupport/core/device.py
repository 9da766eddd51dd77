"""Which hardware computes, asked in this one place."""

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from labsupport.core.errors import BadSetting

VARIABLE = "LABS_DEVICE"
# Blocks of more than 32 MiB are mapped afresh at every use, so a CPU likes small batches.
_BATCH = {"cpu": 8, "mps": 32, "cuda": 128}

# MPS; a CPU on Linux and macOS; a CPU on Windows.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def pick(name: str | torch.device | None = None) -> torch.device:
    """The device to compute on: CUDA where there is one, then Apple's MPS, then the CPU.

    A `name` ("cpu", "cuda:1") or the environment variable LABS_DEVICE decides otherwise.

    Errors: `BadSetting` for a device that this machine does not have.

    >>> pick("cpu")
    device(type='cpu')
    """
    asked = str(name) if name is not None else os.environ.get(VARIABLE, "")
    if not asked or asked == "auto":
        return torch.device(available()[0])
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise BadSetting(_no_device(asked)) from None
    known = available()
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in known or (device.index or 0) >= count:
        raise BadSetting(_no_device(asked))
    return device


def available() -> list[str]:
    """The kinds of device on this machine, the fastest first."""
    kinds = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        kinds.append("mps")
    return [*kinds, "cpu"]


def _no_device(asked: str) -> str:
    return (
        f"no device {asked!r} here; this machine has {', '.join(available())} "
        f"(unset {VARIABLE}, or set it to one of them)"
    )


def describe(device: torch.device) -> str:
    """The device in words, for a person."""
    if device.type == "cuda":
        return f"GPU ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return "Apple GPU (MPS)"
    cores = torch.get_num_threads()
    return f"CPU ({platform.machine()}, {cores} {'thread' if cores == 1 else 'threads'})"


_MEMORY = Path("/proc/meminfo")
_LIMITS = (  # of a container, and what it uses already
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def free_memory(device: torch.device) -> int | None:
    """About how many bytes can still be had on the device; None where nobody tells.

    >>> free_memory(torch.device("cpu")) != 0
    True
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    lines = [line.split() for line in _MEMORY.read_text().splitlines()] if _MEMORY.exists() else []
    free = [1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    if not free and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2]  # others need some
    for limit, used in _LIMITS:
        if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
            free.append(max(0, int(limit.read_text()) - int(used.read_text())))
    return min(free, default=None)


def reuse_large_blocks() -> None:
    """Let Linux's C library keep blocks of up to 32 MiB when they are freed, for the next time.

    It maps afresh what is at least as large as the largest block so far, and a pass needs its
    largest block again and again: so a larger one comes first, of which no page is touched.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def in_batches(
    fn: Callable[[torch.Tensor], torch.Tensor],
    items: torch.Tensor | Sequence[torch.Tensor],
    *,
    device: torch.device | None = None,
    batch: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> torch.Tensor:
    """Apply `fn` to items a batch at a time; the results, concatenated, are on the CPU.

    `items` is (N, ...) or a sequence of N tensors of one shape. When the device runs out of
    memory the batch is halved and the work goes on. `progress` is called with the share that is
    done. On a GPU the batch travels channels-last.

    Errors: `BadSetting` where not even a single item fits.
    """
    device = device or torch.device("cpu")
    size = batch or _BATCH.get(device.type, 8)
    parts: list[torch.Tensor] = []
    done = 0
    while done < len(items):
        chunk = items[done : done + size]
        stacked = chunk if isinstance(chunk, torch.Tensor) else torch.stack(list(chunk))
        try:
            with torch.no_grad():
                parts.append(_single_precision(fn(_travel(stacked, device))).cpu())
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if len(stacked) == 1:
                raise BadSetting(_no_room(stacked, device)) from error
            size = min(size, len(stacked)) // 2
            _forget_cached_memory(device)
            continue
        done += len(stacked)
        if progress is not None:
            progress(done / len(items))
    if len(parts) == 1:
        return parts[0]  # concatenating would copy it
    return torch.cat(parts) if parts else torch.empty(0)


def _travel(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    if batch.ndim == 4:
        return batch.to(device, memory_format=torch.channels_last)
    return batch.to(device)


def _single_precision(result: torch.Tensor) -> torch.Tensor:
    return result.float() if result.dtype in {torch.bfloat16, torch.float16} else result


def out_of_memory(error: RuntimeError) -> bool:
    """Whether that is what the error says, in the words of a GPU or of a CPU."""
    message = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in message for words in _NO_MEMORY
    )


def _no_room(batch: torch.Tensor, device: torch.device) -> str:
    shape = " x ".join(str(side) for side in batch.shape[1:]) or "1"
    other = "" if device.type == "cpu" else f", or set {VARIABLE} to cpu"
    return (
        f"the memory of this {device.type.upper()} is too small for a single item of {shape} "
        f"numbers: take smaller images or a smaller network, close other notebooks{other}"
    )


def _forget_cached_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
