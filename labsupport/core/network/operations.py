"""What one node of a traced network does, whether it was written as a module, function or method.

Everything that has to know about single operations (receptive fields, the gradient rules of the
ReLU, the incremental occlusion) asks here, so `nn.ReLU`, `F.relu` and `x.relu()` are one thing.
"""

import math
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from labsupport.core.errors import BadSetting

Pair = tuple[int, int]  # (rows, columns)
Size = tuple[int, ...]

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # what torchvision's networks expect
IMAGENET_STD = (0.229, 0.224, 0.225)

_MODULE_KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    nn.Linear: "linear",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.MaxPool2d: "max_pool",
    nn.AvgPool2d: "avg_pool",
    nn.AdaptiveAvgPool2d: "adaptive_pool",
    nn.BatchNorm2d: "norm",
    nn.LocalResponseNorm: "norm",
    nn.Dropout: "dropout",
    nn.Dropout1d: "dropout",
    nn.Dropout2d: "dropout",
    nn.AlphaDropout: "dropout",
    nn.FeatureAlphaDropout: "dropout",
    nn.Identity: "identity",
    nn.Flatten: "flatten",
    nn.PReLU: "channels",
    nn.Softmax2d: "channels",
    nn.ChannelShuffle: "channels",
}
_POINTWISE_MODULES = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.RReLU,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)
_FUNCTION_KINDS: dict[Any, str] = {
    F.relu: "relu",
    torch.relu: "relu",
    torch.relu_: "relu",  # in the parts of a network; a whole one has none
    F.relu6: "relu6",
    F.max_pool2d: "max_pool",
    torch.max_pool2d: "max_pool",
    F.avg_pool2d: "avg_pool",
    F.adaptive_avg_pool2d: "adaptive_pool",
    F.dropout: "dropout",
    torch.cat: "concat",
    operator.add: "add",
    torch.add: "add",
    torch.flatten: "flatten",
    torch.mean: "channel_mean",
    F.prelu: "channels",
}

# Functions and methods of numbers one by one: of one map, or of several at the same place
_ELEMENTWISE = """
    abs add celu clamp clamp_max clamp_min clip cos div elu eq erf exp float floordiv ge gelu gt
    hardshrink hardsigmoid hardswish hardtanh le leaky_relu log log1p logsigmoid lt masked_fill
    maximum minimum mish mod mul ne neg pow reciprocal remainder rfloordiv round rpow rrelu
    rsqrt selu sigmoid sign silu sin softplus softshrink softsign sqrt square sub tanh
    tanhshrink threshold truediv where
    """

# Each output position depends on the input at the same position and on nothing else. Those of
# `PER_CHANNEL` leave the channels apart as well.
PER_CHANNEL = frozenset({"relu", "relu6", "dropout", "identity", "pointwise"})
POINTWISE = PER_CHANNEL | {"norm", "normalize", "channel_mean", "channels"}
WINDOWED = frozenset({"conv", "max_pool", "avg_pool"})
MERGING = frozenset({"concat", "add", "combine"})


class Normalize(nn.Module):
    """The first layer of every network: images in [0, 1] become what the weights expect.

    `mean` and `std` are one number for each of the three colours, or a single one: then the weights
    expect a grey image, the mean of the colours.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.mean.shape[1] == 1:
            images = images.mean(1, keepdim=True)
        return (images - self.mean).div_(self.std)


@dataclass(frozen=True)
class Operation:
    """One node: its kind and, where it slides a window over its input, that window.

    `kernel`, `stride`, `padding` (before the first row and column) and `dilation` are
    (rows, columns). `inputs` are the nodes that it reads.
    """

    node: fx.Node
    kind: str
    inputs: tuple[fx.Node, ...]
    module: nn.Module | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    count_padding: bool = True  # an average pool that divides by the whole window at the border
    ceil_mode: bool = False  # a pool whose last window may reach over the border

    @property
    def reach(self) -> Pair:
        """How many input rows and columns one output position spans."""
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )


def operation(node: fx.Node, root: nn.Module) -> Operation:
    """Read a node of a traced graph whose modules live in `root`."""
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    inputs = tuple(source for source in node.all_input_nodes if source.op != "get_attr")
    kind = _settle(_kind(node, module), node, module, root)
    if kind in WINDOWED:
        return _windowed(node, kind, inputs, module)
    return Operation(node, kind, inputs, module)


def _kind(node: fx.Node, module: nn.Module | None) -> str:
    if node.op in {"placeholder", "get_attr"}:
        return node.op
    if module is not None:
        return module_kind(module)
    if node.op == "call_function" and node.target in _FUNCTION_KINDS:
        return _FUNCTION_KINDS[node.target]
    if node.target is operator.getitem and _takes_channels(node.args[1]):
        return "channels"
    return "pointwise" if _word(node).strip("_") in _ELEMENTWISE.split() else "other"


def module_kind(module: nn.Module) -> str:
    """What a layer of `torch.nn` does, whatever it is given."""
    if isinstance(module, Normalize):
        return "normalize"
    kinds = (kind for layer, kind in _MODULE_KINDS.items() if isinstance(module, layer))
    rest = "pointwise" if isinstance(module, _POINTWISE_MODULES) else "other"
    return next(kinds, rest)


def _word(node: fx.Node) -> str:
    """The name of a method, or of a function of PyTorch's or Python's own."""
    if node.op == "call_method":
        return str(node.target)
    home = getattr(node.target, "__module__", None) or "torch"  # a built-in one names none
    known = home.partition(".")[0] in {"torch", "_operator"}
    return str(getattr(node.target, "__name__", "")) if known else ""


def _settle(kind: str, node: fx.Node, module: nn.Module | None, root: nn.Module) -> str:
    """Cases that look like a known kind but compute something else are "other"."""
    fixed = [source for source in node.all_input_nodes if source.op == "get_attr"]
    varying = len(node.all_input_nodes) - len(fixed)
    if kind in {"pointwise", "add"} and fixed:
        shapes = [_shape_of(one, root) for one in fixed]
        if varying != 1 or any(side != 1 for shape in shapes for side in shape[-2:]):
            return "other"
        return "pointwise" if all(math.prod(shape) == 1 for shape in shapes) else "channels"
    if kind in {"pointwise", "add"}:
        one_map = "pointwise" if varying == 1 else "combine"
        sum_ = kind == "add" and varying == 2 and argument(node, 2, "alpha", 1) == 1
        return "add" if sum_ else one_map
    if kind in MERGING and fixed:
        return "other"
    if kind == "channel_mean" and not _averages_channels(node):
        return "other"
    if kind == "concat" and not _joins_channels(node):
        return "other"
    if kind == "max_pool" and getattr(module, "return_indices", False):
        return "other"  # it gives a pair: the maxima and where they were
    if kind == "conv" and getattr(module, "padding_mode", "zeros") != "zeros":
        return "other"
    if isinstance(module, nn.BatchNorm2d) and module.running_mean is None:
        return "other"  # it takes the statistics of the batch, and so sees all of it
    if kind == "dropout" and module is None and argument(node, 2, "training", True):
        return "other"
    return kind


def _shape_of(node: fx.Node, root: nn.Module) -> tuple[int, ...]:
    """That of a constant."""
    owner, _, name = str(node.target).rpartition(".")
    return tuple(getattr(root.get_submodule(owner), name).shape)


def _averages_channels(node: fx.Node) -> bool:
    dim = argument(node, 1, "dim", None)
    over = tuple(dim) if isinstance(dim, list | tuple) else (dim,)
    return over in {(1,), (-3,)} and argument(node, 2, "keepdim", False) is True


def _takes_channels(index: Any) -> bool:
    """Whether an index is one like [:, :8]."""
    whole = slice(None)
    return isinstance(index, tuple) and index[0] == whole != index[-1] and len(index) == 2


def _joins_channels(node: fx.Node) -> bool:
    parts = argument(node, 0, "tensors", ())
    # The same node twice is one input of a graph, so it needs a general treatment.
    apart = len(parts) == len(node.all_input_nodes)
    return apart and argument(node, 1, "dim", 0) in (1, -3)


def argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    """A call's argument, given by place or by name."""
    if len(node.args) > place:
        return node.args[place]
    return node.kwargs.get(name, default)


def _windowed(
    node: fx.Node, kind: str, inputs: tuple[fx.Node, ...], module: nn.Module | None
) -> Operation:
    def setting(place: int, name: str, default: Any) -> Any:
        if module is not None:
            return getattr(module, name, default)
        return argument(node, place, name, default)

    kernel = _pair(setting(1, "kernel_size", 1))
    stride = setting(2, "stride", None)
    dilation = _pair(setting(4, "dilation", 1) if kind != "avg_pool" else 1)
    padding = setting(3, "padding", 0)
    if padding == "same":
        # PyTorch puts the smaller half of the padding first.
        total = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        padding = (total[0] // 2, total[1] // 2)
    elif padding == "valid":
        padding = 0
    return Operation(
        node,
        kind,
        inputs,
        module,
        kernel,
        _pair(stride if stride else kernel),
        _pair(padding),
        dilation,
        bool(setting(5, "count_include_pad", True)) if kind == "avg_pool" else True,
        bool(setting(4 if kind == "avg_pool" else 5, "ceil_mode", False)),
    )


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch norm in eval mode as x * scale + shift, (C,) each.

    Errors: `BadSetting` for one without running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise BadSetting("this batch norm keeps no statistics, so it has no fixed factor")
    scale = (norm.running_var.detach() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach()


def _pair(value: Any) -> Pair:
    if isinstance(value, int):
        return (value, value)
    first, second = (tuple(value) * 2)[:2]
    return (int(first), int(second))
