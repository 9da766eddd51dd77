"""The same numbers, sooner: how a part of a network is rewritten before it is called.

Most of this course asks for gradients at the image, from frozen weights, on a CPU. There a fresh
block of memory costs as much as the work that fills it, and the first layer's backward pass is
slow.
"""

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.instancenorm import _InstanceNorm

from labsupport.core.network.graphs import LAYER_NAME
from labsupport.core.network.operations import Pair, argument, operation

_COLOURS = 4  # channels, at most, of what counts as an image
_LEFT_ALONE = frozenset({"cuda", "mps"})  # whose own convolutions have not been raced

# Their results are new tensors, which their own backward pass does not read.
_OVERWRITABLE = frozenset({"conv", "linear", "norm", "add", "concat", "max_pool"})


def optimized(part: fx.GraphModule, *, reorder: bool = True) -> fx.GraphModule:
    """The same module, changed in place: its values and gradients stay, but for float rounding.

    It is for calling only: its graph is no description of a network any more. Without `reorder`
    each ReLU keeps its place, for those who give it another gradient.
    """
    if reorder:
        _relus_after_max_pools(part)
    _norms_in_order(part)
    _relus_in_place(part)  # after it: what these calls give must not be overwritten
    _means_for_pools(part)
    _image_convolutions(part)
    part.recompile()
    return part


def _relus_after_max_pools(part: fx.GraphModule) -> None:
    """A maximum's ReLU is the maximum of the ReLUs, and there are fewer of them.

    The gradient is the same as well: a window without a positive number passes none on, whatever
    place the pool has picked in it.
    """
    pools = set(_nodes_of_kind(part, "max_pool"))
    for node in _nodes_of_kind(part, "relu"):
        pool = next(iter(node.users))
        if len(node.users) > 1 or pool not in pools:
            continue
        (source,) = node.all_input_nodes
        pool.replace_input_with(node, source)
        with part.graph.inserting_after(pool):
            late = part.graph.call_function(torch.relu, (pool,))
        late.meta = dict(node.meta)
        pool.replace_all_uses_with(late)
        late.args = (pool,)  # not itself
        part.graph.erase_node(node)


def _relus_in_place(part: fx.GraphModule) -> None:
    """ReLUs overwrite what nobody else reads."""
    for node in _nodes_of_kind(part, "relu"):
        (source,) = node.all_input_nodes
        if len(source.users) == 1 and operation(source, part).kind in _OVERWRITABLE:
            replace(node, torch.relu_, (source,))


def _means_for_pools(part: fx.GraphModule) -> None:
    """A pool that averages whole maps is their mean, whose backward pass keeps channels-last."""
    for node in _nodes_of_kind(part, "adaptive_pool"):
        work = operation(node, part)
        size = getattr(work.module, "output_size", argument(node, 1, "output_size", None))
        if size in (1, (1, 1), [1, 1]):
            replace(node, torch.mean, (*work.inputs, (2, 3), True))


def _image_convolutions(part: fx.GraphModule) -> None:
    """A strided convolution that reads the image gets a faster backward pass."""
    for node in _nodes_of_kind(part, "conv"):
        work = operation(node, part)
        layer = work.module
        if not isinstance(layer, nn.Conv2d) or layer.in_channels > _COLOURS or layer.groups > 1:
            continue
        if max(work.stride) == 1 or work.dilation != (1, 1) or isinstance(layer.padding, str):
            continue
        with part.graph.inserting_before(node):
            weight = part.graph.get_attr(f"{node.target}.weight")
            bias = None if layer.bias is None else part.graph.get_attr(f"{node.target}.bias")
        geometry = (work.stride, work.padding)
        replace(node, image_convolution, (*work.inputs, weight, bias, *geometry))


def _norms_in_order(part: fx.GraphModule) -> None:
    """PyTorch's normalizations give a wrong gradient on the CPU, to a single image, where it and
    the maps lie in different orders of memory; to an instance normalization channels-last alone."""
    mixed = any(LAYER_NAME in node.meta for node in _nodes_of_kind(part, "other"))
    for node in list(part.graph.nodes):
        module = part.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _InstanceNorm) or node.target is F.instance_norm:
            _put_around(node, in_order)
        elif mixed and (isinstance(module, nn.BatchNorm2d) or node.target is F.batch_norm):
            _put_around(node, channels_last)


def _put_around(node: fx.Node, function: Any) -> None:
    """Call a function on what a node reads and on what it gives."""
    source, graph = node.all_input_nodes[0], node.graph
    with graph.inserting_before(node):
        node.replace_input_with(source, graph.call_function(function, (source,)))
    with graph.inserting_after(node):
        ordered = graph.call_function(function, (node,))
    node.replace_all_uses_with(ordered, delete_user_cb=lambda user: user is not ordered)


def _nodes_of_kind(part: fx.GraphModule, kind: str) -> list[fx.Node]:
    nodes = [n for n in part.graph.nodes if n.op not in {"placeholder", "get_attr", "output"}]
    return [node for node in nodes if operation(node, part).kind == kind]


def replace(node: fx.Node, function: Any, inputs: tuple[Any, ...], **settings: Any) -> None:
    """Put a function's call into a node's place in its graph."""
    with node.graph.inserting_before(node):
        new = node.graph.call_function(function, inputs, settings)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)


class _Ordered(torch.autograd.Function):
    """The same numbers; they and the gradient that arrives lie in one order of memory."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, order: torch.memory_format) -> torch.Tensor:
        return _in(order, x.view_as(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: Any) -> None:
        ctx.order = inputs[1]

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _in(ctx.order, above), None

    @staticmethod
    def jvp(ctx: Any, x: torch.Tensor, _: None) -> torch.Tensor:
        return _in(ctx.order, x.view_as(x))


def _in(order: torch.memory_format, x: torch.Tensor) -> torch.Tensor:
    if order is torch.contiguous_format or x.ndim != 4:
        return x.contiguous()
    x = x.contiguous(memory_format=order)
    _, channels, height, width = x.shape
    # Of one image alone PyTorch calls more than these strides channels-last.
    return x.as_strided(x.shape, (channels * height * width, 1, channels * width, channels))


def in_order(x: torch.Tensor) -> torch.Tensor:
    """x, and its gradient when it arrives, in the usual order of memory."""
    return _Ordered.apply(x, torch.contiguous_format)  # type: ignore[no-any-return]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """x, and its gradient when it arrives, channels-last, and with the strides that say so."""
    return _Ordered.apply(x, torch.channels_last)  # type: ignore[no-any-return]


# The convolution that reads the image


def image_convolution(
    images: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Pair,
    padding: Pair,
) -> torch.Tensor:
    """`F.conv2d`, with a faster backward pass where only images (N, C, H, W) want a gradient."""
    wanted = torch.is_grad_enabled() and images.requires_grad
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    if wanted and not trained and images.device.type not in _LEFT_ALONE:
        maps: torch.Tensor = _ImageConvolution.apply(images, weight, bias, stride, padding)
        return maps
    return F.conv2d(images, weight, bias, stride, padding)


class _ImageConvolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: Pair,
        padding: Pair,
    ) -> torch.Tensor:
        return F.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: torch.Tensor) -> None:
        images, weight, _bias, stride, padding = inputs
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)
        ctx.geometry = (tuple(images.shape[2:]), stride, padding)

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return by_phases(above, weight, *ctx.geometry), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, images: torch.Tensor, *_: None) -> torch.Tensor:
        (weight,) = ctx.saved_tensors
        return F.conv2d(images, weight, None, *ctx.geometry[1:])


def by_phases(
    above: torch.Tensor, weight: torch.Tensor, size: Pair, stride: Pair, padding: Pair
) -> torch.Tensor:
    """A convolution's gradient at its input (N, C, H, W), from the one `above` it (N, K, h, w).

    The pixels of one phase (row and column modulo the stride) see the same few taps of the filters
    (K, C, height, width). So each phase is a small convolution of its own, without stride, and all
    of them are one, with C channels for each phase: the processor's vectors are filled, which a
    transposed convolution to three colours leaves empty.

    >>> images, weight = torch.rand(1, 3, 9, 8, requires_grad=True), torch.rand(5, 3, 3, 3)
    >>> above = torch.rand(1, 5, 5, 4)
    >>> F.conv2d(images, weight, stride=2, padding=1).backward(above)
    >>> torch.allclose(by_phases(above, weight, (9, 8), (2, 2), (1, 1)), images.grad, atol=1e-5)
    True
    """
    (down, across), (height, width) = stride, size
    filters, colours, *kernel = weight.shape
    rows, columns = -(-kernel[0] // down), -(-kernel[1] // across)  # taps that a phase sees
    taps = F.pad(weight, (0, columns * across - kernel[1], 0, rows * down - kernel[0]))
    taps = taps.view(filters, colours, rows, down, columns, across).flip(2, 4)
    taps = taps.permute(3, 5, 1, 0, 2, 4).reshape(-1, filters, rows, columns)
    taps = taps.contiguous(memory_format=torch.channels_last)
    phases = F.conv2d(above, taps, padding=(rows - 1, columns - 1)).permute(0, 2, 3, 1)
    count, tall, wide, _ = phases.shape
    below = phases.reshape(count, tall, wide, down, across, colours).transpose(2, 3)
    below = below.reshape(count, tall * down, wide * across, colours)
    top, left = padding
    unread = [max(0, top + height - tall * down), max(0, left + width - wide * across)]
    if any(unread):  # the last rows or columns lie in no window
        below = F.pad(below, (0, 0, 0, unread[1], 0, unread[0]))
    return below[:, top : top + height, left : left + width].permute(0, 3, 1, 2)
