"""How large a picture may be: the memory of a step, read off the network's graph."""

import math
from collections.abc import Sequence

from labsupport.core import device as devices
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.network import Network, Pair, tracing

_BYTES = 8.0  # a float32 in the forward pass, one in the backward pass
_PIXEL_BYTES = 400  # an image, and what the optimizer remembers of it


def memory_needed(network: Network, layers: Sequence[str], size: Pair) -> int:
    """About how many bytes a step takes for a picture of this size (height, width), read off the
    graph: what each node up to the deepest layer keeps for the backward pass, and its gradient.

    Errors: `BadImage`, `UnknownLayer`.
    """
    shapes, needed = network.shapes(size), tracing.needed_for(map(network.node, layers))
    numbers = sum(math.prod(shapes[node]) for node in needed if shapes[node])
    return round(_BYTES * numbers + _PIXEL_BYTES * math.prod(size))


def largest_size(
    network: Network, layers: Sequence[str], size: Pair, available: int | None = None
) -> Pair:
    """The largest (height, width), no larger than `size` and in its proportions, that fits into
    `available` bytes; by default into what is free on the network's device.

    Errors: `UnknownLayer`; `BadSetting` where not even the smallest picture fits, and for fewer
    than no bytes.
    """
    free = devices.free_memory(network.device) if available is None else available
    if free is not None and not free >= 0:
        raise BadSetting(f"available is a number of bytes, 0 or more, not {free}")
    if free is None or memory_needed(network, layers, size) <= free:
        return size
    # The need grows with the pixels, but for borders: two or three guesses do.
    share, guess = 1.0, size
    while _is_taken(network, guess):
        needed = memory_needed(network, layers, guess)
        if needed <= free:
            return guess
        if guess == (1, 1):
            break
        share *= 0.995 * math.sqrt(free / needed)
        guess = (max(1, int(size[0] * share)), max(1, int(size[1] * share)))
    raise BadSetting(f"{_in_words(free)} of free memory are too little for any picture")


def _is_taken(network: Network, size: Pair) -> bool:
    try:
        network.shapes(size)
    except BadImage:
        return False
    return True


def check_memory(network: Network, layers: Sequence[str], size: Pair) -> None:
    """Raise `too_large` for a picture that the free memory cannot hold."""
    needed, free = memory_needed(network, layers, size), devices.free_memory(network.device)
    if free is not None and needed > free:
        raise too_large(network, layers, size, free)


def too_large(
    network: Network, layers: Sequence[str], size: Pair, free: int | None = None
) -> BadSetting:
    """The error that names the largest picture that fits; by default into half of the need, for
    a memory that has run out although it seemed enough."""
    needed = memory_needed(network, layers, size)
    free = needed // 2 if free is None else free
    height, width = largest_size(network, layers, size, min(free, needed - 1))
    return BadSetting(
        f"a picture of {size[0]} x {size[1]} (height x width) needs about {_in_words(needed)} at "
        f"these layers, and {_in_words(free)} are free. The largest that fits is {height} x "
        f"{width}: images.resize(content, ({height}, {width})) brings it there"
    )


def _in_words(count: int) -> str:
    """Bytes for people.

    >>> _in_words(3_400_000_000), _in_words(61_000_000)
    ('3.4 GB', '61 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
