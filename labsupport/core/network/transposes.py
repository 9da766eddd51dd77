"""The backward pass of a deconvnet: every layer's transpose, and switches for the max-pools.

Zeiler and Fergus run a network backwards: a convolution with its filters transposed, a ReLU that
acts on the signal that comes down, and a max-pool that puts each value where it came from, which
the forward pass has written down as *switches*. Nothing here asks autograd.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from labsupport.core.errors import BadSetting
from labsupport.core.network import graphs
from labsupport.core.network.network import Network
from labsupport.core.network.operations import Normalize, Operation, operation, scale_and_shift

Signal = torch.Tensor


def project(
    network: Network, images: torch.Tensor, node: fx.Node, start: Callable[[Signal], Signal]
) -> Signal:
    """Send a signal from a node down to the image, (N, 3, H, W), on the network's device.

    `start` makes the signal from the node's activations.

    Errors: `BadSetting` for a layer that has no transpose.
    """
    network.need_graph("the transposes of its layers")
    there = network.at((images.shape[2], images.shape[3]))
    (node,) = there.same_layers([node], network)
    network = there
    part = network.remember(
        ("deconvnet", node), lambda: graphs.subgraph(network.graph, (node,)), keep=32
    )
    passed = _ForwardPass(part)
    (top,) = passed.forward(network.send(images))
    output = next(one for one in part.graph.nodes if one.op == "output")
    signals: dict[fx.Node, Signal] = {output.args[0][0]: start(top)}
    for one in reversed(part.graph.nodes):
        signal = signals.pop(one, None)
        if one.op == "placeholder":
            return signal if signal is not None else torch.zeros_like(images)
        if signal is not None:
            for source, piece in _down(operation(one, part), signal, passed):
                signals[source] = signals[source] + piece if source in signals else piece
    raise BadSetting(f"{network.name} has no image to send a signal to")


def unpool(values: Signal, switches: torch.Tensor, size: tuple[int, int]) -> Signal:
    """Put each value of pooled maps (N, C, h, w) where its switch says, in maps (N, C, H, W).

    A switch is a place in the map below, counted row by row, as `max_pool2d(...,
    return_indices=True)` gives it. Where windows overlap and share a maximum, values add up.

    >>> unpool(torch.tensor([[[[7.0]]]]), torch.tensor([[[[2]]]]), (2, 2))
    tensor([[[[0., 0.],
              [7., 0.]]]])
    """
    empty = values.new_zeros((*values.shape[:2], size[0] * size[1]))
    placed = empty.scatter_add_(2, switches.flatten(2), values.flatten(2))
    return placed.view(*values.shape[:2], *size)


class _ForwardPass(fx.Interpreter):
    """One forward pass that remembers sizes and, for each max-pool, its switches."""

    def __init__(self, part: fx.GraphModule) -> None:
        super().__init__(part)
        self.sizes: dict[fx.Node, torch.Size] = {}
        self.switches: dict[fx.Node, torch.Tensor] = {}

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the part computes. (The interpreter's own `run` starts a thread, for its bar.)"""
        self.args_iter = iter((images,))
        for node in self.graph.nodes:
            self.env[node] = self.run_node(node)
            for spent in self.user_to_last_uses.get(node, ()):
                del self.env[spent]
        result: tuple[torch.Tensor, ...] = self.env[node]
        return result

    def run_node(self, n: fx.Node) -> Any:
        work = operation(n, self.module) if n.op not in {"output", "get_attr"} else None
        if work is not None and work.kind == "max_pool":
            window = (work.kernel, work.stride, work.padding, work.dilation)
            result, self.switches[n] = F.max_pool2d(
                self.env[work.inputs[0]], *window, ceil_mode=work.ceil_mode, return_indices=True
            )
        else:
            result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.sizes[n] = result.shape
        return result


# One layer down


def _down(work: Operation, signal: Signal, passed: _ForwardPass) -> list[tuple[fx.Node, Signal]]:
    """What each input of a node gets of the signal."""
    if work.kind == "concat":
        widths = [passed.sizes[source][1] for source in work.inputs]
        return list(zip(work.inputs, torch.split(signal, widths, 1), strict=True))
    if work.kind == "add":
        return [(source, signal) for source in work.inputs]
    step = _STEPS.get(work.kind)
    # response normalization counts as a norm as well
    unknown = work.kind == "norm" and not isinstance(work.module, nn.BatchNorm2d)
    if step is None or unknown:
        name = work.node.meta.get(graphs.LAYER_NAME, work.node.name)
        raise BadSetting(
            f"a deconvnet knows no transpose of the layer {name!r} ({work.kind}); "
            "gradient(..., rule='deconvnet') has"
        )
    (source,) = work.inputs[:1]
    return [(source, step(work, signal, passed))]


def _through_convolution(work: Operation, signal: Signal, passed: _ForwardPass) -> Signal:
    layer: Any = work.module
    whole = F.conv_transpose2d(
        signal, layer.weight, stride=work.stride, dilation=work.dilation, groups=layer.groups
    )
    height, width = passed.sizes[work.inputs[0]][2:]
    top, left = work.padding
    missing = [max(0, top + height - whole.shape[2]), max(0, left + width - whole.shape[3])]
    padded = F.pad(whole, (0, missing[1], 0, missing[0]))
    return padded[:, :, top : top + height, left : left + width]


def _through_linear(work: Operation, signal: Signal, _: _ForwardPass) -> Signal:
    layer: Any = work.module
    below: Signal = signal @ layer.weight
    return below


def _through_max_pool(work: Operation, signal: Signal, passed: _ForwardPass) -> Signal:
    height, width = passed.sizes[work.inputs[0]][2:]
    return unpool(signal, passed.switches[work.node], (height, width))


def _through_average(work: Operation, signal: Signal, passed: _ForwardPass) -> Signal:
    """A pool that averages is a product with one matrix for the rows and one for the columns."""
    below, above = passed.sizes[work.inputs[0]][2:], passed.sizes[work.node][2:]
    down, across = (_averages(work, axis, below[axis], above[axis]).to(signal) for axis in (0, 1))
    return down.T @ signal @ across


def _averages(work: Operation, axis: int, below: int, above: int) -> torch.Tensor:
    """The share (above, below) that each place below has in each average above it."""
    place = torch.arange(above)
    if work.kind == "adaptive_pool":
        first, end = place * below // above, -(-(place + 1) * below // above)
        count = end - first
    else:
        pad, kernel = work.padding[axis], work.kernel[axis]
        first = place * work.stride[axis] - pad
        end = (first + kernel).clamp(max=below + pad)
        count = end - first
        first, end = first.clamp(min=0), end.clamp(max=below)
        count = count if work.count_padding else end - first
    cells = torch.arange(below)[None, :]
    inside = (cells >= first[:, None]) & (cells < end[:, None])
    return inside / count[:, None]


def _through_norm(work: Operation, signal: Signal, _: _ForwardPass) -> Signal:
    layer: Any = work.module
    scale, _shift = scale_and_shift(layer)
    return signal * scale[:, None, None]


def _through_normalization(work: Operation, signal: Signal, _: _ForwardPass) -> Signal:
    if not isinstance(work.module, Normalize):
        return signal
    scaled = signal / work.module.std
    return scaled if scaled.shape[1] == 3 else scaled.expand(-1, 3, -1, -1) / 3  # of their mean


_STEPS: dict[str, Callable[[Operation, Signal, _ForwardPass], Signal]] = {
    "conv": _through_convolution,
    "linear": _through_linear,
    "relu": lambda _, signal, __: signal.relu(),
    "relu6": lambda _, signal, __: signal.relu(),
    "max_pool": _through_max_pool,
    "avg_pool": _through_average,
    "adaptive_pool": _through_average,
    "norm": _through_norm,
    "normalize": _through_normalization,
    "flatten": lambda work, signal, passed: signal.reshape(passed.sizes[work.inputs[0]]),
    "dropout": lambda _, signal, __: signal,
    "identity": lambda _, signal, __: signal,
}
