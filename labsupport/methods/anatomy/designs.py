"""Chains of convolutions to be changed: whether they fit together, and the module that they are."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from labsupport.core.errors import BadSetting, one_of
from labsupport.core.network import Network, blueprints

Padding = Literal["same", "none"]
Head = Literal["fully connected", "average"]

_MOST_CHANNELS = 512  # where VGG stops doubling, too
_HIDDEN = 4096


@dataclass(frozen=True)
class Design:
    """A plain chain of convolutions, to be changed.

    `image` is the side of the image. The first convolution has its own kernel and stride; `depth`
    counts the convolutions. After every second one a 2 x 2 pool halves the map, and the channels
    double, up to 512. "same" padding is half the kernel. The head is "fully connected" (two layers
    of 4096 and the scores) or an "average" over all positions and the scores.
    """

    image: int = 224
    depth: int = 8
    first_kernel: int = 7
    first_stride: int = 2
    kernel: int = 3
    padding: Padding = "same"
    channels: int = 64
    head: Head = "fully connected"
    classes: int = 1000


def design(plan: Design) -> Network:
    """The network of a plan, without weights: its `anatomy` says what it would cost.

    Errors: `BadSetting` says at which layer the shapes no longer fit, and what would help.

    >>> small = Design(image=32, depth=2, first_kernel=5, first_stride=1, channels=6, classes=10)
    >>> design(small).layer("pool2").shape
    (6, 16, 16)
    """
    sides = _sides(plan)
    name = f"{plan.depth} convolutions, {plan.head}"
    size = (plan.image, plan.image)
    return blueprints.blueprint_of(lambda: _chain(plan, sides[-1]), name=name, input_size=size)


def _sides(plan: Design) -> list[int]:
    """The side of the map after each convolution and its pool."""
    _check(plan)
    side, sides = plan.image, []
    for number in range(1, plan.depth + 1):
        kernel, stride, padding = _window(plan, number)
        if kernel > side + 2 * padding:
            padded = f" and {padding} pixels of padding on each side" if padding else ""
            raise BadSetting(
                f"conv{number} has a kernel of {kernel} x {kernel}, but its input is only "
                f"{side} x {side}{padded}: the window does not fit in. Take fewer layers, a "
                'larger image, a smaller kernel or stride, or padding "same".'
            )
        side = (side + 2 * padding - kernel) // stride + 1
        if _pooled(number):
            if side < 2:
                raise BadSetting(
                    f"pool{number} takes 2 x 2, but only {side} x {side} is left of the image: "
                    "nothing to pool. Take fewer layers, a larger image or a smaller stride."
                )
            side //= 2
        sides.append(side)
    return sides


def _check(plan: Design) -> None:
    whole = ("image", "depth", "first_kernel", "first_stride", "kernel", "channels", "classes")
    for name in whole:
        value = getattr(plan, name)
        if not isinstance(value, int) or value < 1:
            raise BadSetting(f"{name} is a whole number from 1 upwards, not {value!r}")
    one_of(plan.padding, get_args(Padding), "padding")
    one_of(plan.head, get_args(Head), "head")


def _window(plan: Design, number: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a convolution, counted from 1."""
    first = number == 1
    kernel = plan.first_kernel if first else plan.kernel
    padding = kernel // 2 if plan.padding == "same" else 0
    return kernel, plan.first_stride if first else 1, padding


def _pooled(number: int) -> bool:
    return number % 2 == 0


def _chain(plan: Design, side: int) -> nn.Module:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    before, channels = 3, plan.channels
    for number in range(1, plan.depth + 1):
        kernel, stride, padding = _window(plan, number)
        parts[f"conv{number}"] = nn.Conv2d(before, channels, kernel, stride, padding)
        parts[f"relu{number}"] = nn.ReLU()
        before = channels
        if _pooled(number):
            parts[f"pool{number}"] = nn.MaxPool2d(2)
            channels = max(channels, min(2 * channels, _MOST_CHANNELS))
    parts.update(_head(plan, before, side))
    return nn.Sequential(parts)


def _head(plan: Design, channels: int, side: int) -> Iterator[tuple[str, nn.Module]]:
    number = plan.depth + 1
    if plan.head == "average":
        yield "average", nn.AdaptiveAvgPool2d(1)
        yield "flatten", nn.Flatten()
        yield f"fc{number}", nn.Linear(channels, plan.classes)
        return
    yield "flatten", nn.Flatten()
    yield f"fc{number}", nn.Linear(channels * side * side, _HIDDEN)
    yield f"relu{number}", nn.ReLU()
    yield f"fc{number + 1}", nn.Linear(_HIDDEN, _HIDDEN)
    yield f"relu{number + 1}", nn.ReLU()
    yield f"fc{number + 2}", nn.Linear(_HIDDEN, plan.classes)
