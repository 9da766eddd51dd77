"""Random small networks from the parts that incremental recomputation knows, for Hypothesis."""

from typing import Any

import torch
import toys
from hypothesis import Phase
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

WIDTH = 4  # channels of every map between two parts
CLASSES = 5
Part = tuple[Any, ...]

# Making a failing network smaller takes minutes: add Phase.shrink while you look for a fault.
PHASES = (Phase.explicit, Phase.generate)

pair = st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 3, 5]))
conv = st.tuples(
    st.just("conv"),
    pair,
    st.sampled_from([1, 1, 2]),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([1, 1, 2, 4]),
    st.booleans(),
)
pool = st.tuples(
    st.sampled_from(["max", "max", "functional max", "average"]),
    st.sampled_from([2, 3]),
    st.sampled_from([1, 2]),
    st.booleans(),
)
pointwise = st.sampled_from(
    [
        *[("relu",), ("relu in place",), ("relu6",), ("tanh",), ("norm",), ("lrn",), ("drop",)],
        *[("scaled",), ("doubled",), ("grey",)],
    ]
)
simple = st.one_of(conv, pool, pointwise)
same_size = st.lists(
    st.one_of(
        st.sampled_from([("same", 3, 1), ("same", 3, 2), ("same", 1, 1), ("same", 5, 1)]),
        pointwise,
    ),
    min_size=1,
    max_size=3,
)
residual = st.tuples(st.just("residual"), same_size)
branches = st.lists(same_size, min_size=1, max_size=2)
concat = st.tuples(st.just("concat"), branches, st.booleans())
dense = st.tuples(st.just("dense"), branches)
HEADS = ["mean", "global pool", "flatten", "coarse pool", "conv", "view", "two linear"]
networks_ = st.tuples(
    st.lists(st.one_of(simple, simple, residual, concat, dense), min_size=1, max_size=5),
    st.sampled_from(HEADS),
)


class Body(nn.Module):
    """Executes a list of parts."""

    def __init__(self, parts: list[Part]) -> None:
        super().__init__()
        self.parts = parts
        self.modules_ = nn.ModuleList([self.build(part) for part in parts])

    def build(self, part: Part) -> nn.Module:
        kind, *rest = part
        match kind:
            case "conv":
                kernel, stride, dilation, groups, pad = rest
                padding = tuple(dilation * (side - 1) // 2 for side in kernel) if pad else 0
                return nn.Conv2d(WIDTH, WIDTH, kernel, stride, padding, dilation, groups)
            case "same":
                side, dilation = rest
                return nn.Conv2d(WIDTH, WIDTH, side, padding="same", dilation=dilation)
            case "max":
                side, stride, ceil = rest
                return nn.MaxPool2d(side, stride, side // 2, ceil_mode=ceil)
            case "average":
                side, stride, _ = rest
                return nn.AvgPool2d(side, stride, side // 2)
            case "residual":
                return Body(rest[0])
            case "concat" | "dense":
                sides = rest[0]
                count = len(sides) + (1 if kind == "dense" or rest[1] else 0)
                branches = [Body(side) for side in sides]
                return nn.ModuleList([*branches, nn.Conv2d(count * WIDTH, WIDTH, 1)])
        return {
            "relu": nn.ReLU(),
            "relu in place": nn.ReLU(inplace=True),
            "relu6": nn.ReLU6(),
            "tanh": nn.Tanh(),
            "norm": nn.BatchNorm2d(WIDTH),
            "lrn": nn.LocalResponseNorm(3),
            "drop": nn.Dropout(),
            "grey": nn.Conv2d(1, WIDTH, 1),
        }.get(kind, nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part, module in zip(self.parts, self.modules_, strict=True):
            x = self.apply_part(part, module, x)
        return x

    @staticmethod
    def apply_part(part: Part, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        kind, *rest = part
        if kind == "functional max":
            return F.max_pool2d(x, rest[0], rest[1], rest[0] // 2, ceil_mode=rest[2])
        if kind == "residual":
            return module(x) + x
        if kind == "scaled":
            return 1 - x * 0.5
        if kind == "doubled":
            return x + x
        if kind == "grey":
            return module(x.mean(1, keepdim=True))
        if kind in ("concat", "dense"):
            *branches, merge = module
            maps = [x] if kind == "dense" or rest[1] else []
            for branch in branches:  # in a dense part each reads what the one before it gave
                maps.append(branch(maps[-1] if kind == "dense" else x))
            return merge(torch.cat(maps, 1))
        return module(x)


class Random(nn.Module):
    """A stem, a body and a head."""

    def __init__(self, parts: list[Part], head: str, size: tuple[int, int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.body = Body(parts)
        self.kind = head
        with torch.no_grad():
            maps = self.body.eval()(self.stem(torch.zeros(1, 3, *size)))
        units = maps[0].numel()
        self.head = {
            "mean": nn.Linear(WIDTH, CLASSES),
            "global pool": nn.Linear(WIDTH, CLASSES),
            "flatten": nn.Linear(units, CLASSES),
            "view": nn.Linear(units, CLASSES),
            "coarse pool": nn.Linear(WIDTH * 6, CLASSES),
            "conv": nn.Conv2d(WIDTH, CLASSES, 1),
            "two linear": nn.Sequential(
                nn.Linear(units, 7), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(7, CLASSES)
            ),
        }[head]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.stem(x))
        match self.kind:
            case "mean":
                return self.head(x.mean((2, 3)))
            case "global pool":
                return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
            case "coarse pool":
                return self.head(torch.flatten(F.adaptive_avg_pool2d(x, (3, 2)), 1))
            case "conv":
                return torch.flatten(F.adaptive_avg_pool2d(self.head(x).relu(), (1, 1)), 1)
            case "view":
                return self.head(x.view(x.size(0), -1))
        return self.head(torch.flatten(x, 1))


def build(spec: tuple[list[Part], str], size: tuple[int, int]) -> nn.Module | None:
    """The network, or None where its maps would vanish at this image size."""
    try:
        return toys.shake(toys.seeded(lambda: Random(*spec, size)))
    except RuntimeError:
        return None
