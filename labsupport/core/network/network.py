"""Image classifiers, opened up: every layer by name, every number at hand.

A `Network` takes images in [0, 1] and gives scores; the normalization that its weights expect is
its first layer. It is traced once, so its layers are the nodes of a graph, and any part of it can
be computed without the rest.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import fx

from labsupport.core import device as devices
from labsupport.core import errors, images
from labsupport.core.errors import BadSetting, UnknownClass, nearest
from labsupport.core.network import layers, rewrites, slide_names, tracing
from labsupport.core.network.layers import Fields, Layer, Size, Target, checked_position
from labsupport.core.network.operations import Operation, Pair, operation

T = TypeVar("T")
_REFUSALS = (RuntimeError, ValueError, AssertionError)  # how a layer says that shapes do not fit
TargetLike = Target | str | int | tuple[str, int] | tuple[str, int, Pair]


@dataclass(frozen=True)
class Prediction:
    """One line of an answer: the category, its probability and its score before softmax."""

    name: str
    probability: float
    score: float
    index: int


class Network:
    """A traced classifier. Build one with `load` or `wrap`.

    `name`, `source` (where the weights came from, in words), `device`, `categories`, `input_size`
    (height, width), `mean` and `std` of its normalization and `layers` (in execution order)
    describe it; calling it computes scores.

    For methods that need more, `graph` is the traced module, `operations` what its nodes do,
    `output` the node of the scores.
    """

    def __init__(
        self,
        traced: fx.GraphModule,
        *,
        name: str,
        architecture: str,
        source: str,
        categories: Sequence[str] | None,
        input_size: Pair,
        device: str | torch.device | None,
    ) -> None:
        self.name, self.source, self.input_size = name, source, input_size
        self.device = devices.pick(device)
        if self.device.type == "cpu":
            devices.reuse_large_blocks()
        self.graph = traced.to(self.device).to(memory_format=torch.channels_last)
        nodes = [node for node in traced.graph.nodes if node.op not in {"get_attr", "output"}]
        self.operations: tuple[Operation, ...] = tuple(operation(node, traced) for node in nodes)
        self._operations = {one.node: one for one in self.operations}
        normalize = next(o.module for o in self.operations if o.kind == "normalize")
        self.mean, self.std = (
            tuple(round(value, 6) for value in buffer.flatten().tolist())
            for buffer in normalize.buffers()  # type: ignore[union-attr]
        )
        self.output = next(n for n in traced.graph.nodes if n.op == "output").args[0]
        self._architecture = architecture
        self._lock = threading.RLock()
        self._parts: dict[tuple[fx.Node, ...], fx.GraphModule] = {}
        self._shapes: dict[Pair, dict[fx.Node, Size]] = {}
        self._remembered: OrderedDict[Hashable, Any] = OrderedDict()
        classes = self._count_classes()
        self.categories = tuple(categories or (f"class {i}" for i in range(classes)))
        if len(self.categories) != classes:
            raise BadSetting(
                f"{name} gives {classes} scores, but {len(self.categories)} categories were named"
            )

    def __repr__(self) -> str:
        return f"Network({self.name}, {len(self.categories)} classes, {self.source}, {self.device})"

    # Computing

    def __call__(self, images_: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) before softmax, on the network's device; gradients flow through.

        Errors: `BadImage` for anything but images (N, 3, H, W) in [0, 1], and for a size that
        this network cannot take.
        """
        self.check(images_)
        return self.scores(images_)

    def scores(self, images_: torch.Tensor) -> torch.Tensor:
        """The same for images that were checked before, as an optimization's steps are."""
        return self.part((self.output,))(self.send(images_))[0]  # type: ignore[no-any-return]

    def predict(self, images_: torch.Tensor, k: int = 5) -> list[list[Prediction]]:
        """For each image its `k` most probable categories, the best first."""
        with torch.no_grad():
            return self.ranking(self(images_), k)

    def ranking(self, scores: torch.Tensor, k: int = 5) -> list[list[Prediction]]:
        """The same from scores (N, classes) that are there already."""
        return ranking_of(scores, self.categories, k)

    def activations(self, images_: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """What these layers compute, by the names that were asked for, on the CPU.

        A layer with maps gives (N, C, H, W). Nothing after the last of them is computed.
        """
        if isinstance(layers, str):
            layers = [layers]
        self.check(images_)
        nodes = tuple(self.node(layer) for layer in layers)
        with torch.no_grad():
            values = self.part(nodes)(self.send(images_))
        return {name: value.cpu() for name, value in zip(layers, values, strict=True)}

    def up_to(self, layer: str) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function from images to one layer's activations that computes no more than they need.

        It keeps gradients, stays on the network's device and does not check its images.
        """
        part = self.part((self.node(layer),))

        def early_exit(images_: torch.Tensor) -> torch.Tensor:
            return part(self.send(images_))[0]  # type: ignore[no-any-return]

        return early_exit

    def part(self, nodes: tuple[fx.Node, ...]) -> fx.GraphModule:
        """The module that computes these nodes of `graph` and nothing that they do not need."""
        with self._lock:
            if nodes not in self._parts:
                self._parts[nodes] = rewrites.optimized(tracing.subgraph(self.graph, nodes))
            return self._parts[nodes]

    def send(self, images_: torch.Tensor) -> torch.Tensor:
        """Images on this network's device, in single precision, channels-last, as it likes them."""
        return images_.to(self.device, torch.float32, memory_format=torch.channels_last)

    def copy(
        self,
        *,
        graph: fx.GraphModule | None = None,
        name: str | None = None,
        source: str | None = None,
    ) -> Network:
        """The same network with weights of its own, which may be changed, or with another graph.

        `source` says in words what becomes of the weights.
        """
        changed = {"name": name or self.name, "source": source or self.source}
        own = copy.deepcopy(self.graph) if graph is None else graph
        return Network(own, **self._settings() | changed)

    def _settings(self) -> dict[str, Any]:
        """Everything but the graph that a network is built with."""
        return {
            "name": self.name,
            "architecture": self._architecture,
            "source": self.source,
            "categories": self.categories,
            "input_size": self.input_size,
            "device": self.device,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied without what it remembers: that is worked out anew."""
        names = tuple(node.meta.get(tracing.LAYER_NAME) for node in self.graph.graph.nodes)
        return _rebuilt, (self.graph, names, self._settings())

    def check(self, images_: torch.Tensor, *, one: bool = False) -> None:
        """Raise `BadImage` unless these are images in [0, 1] of a size that the network takes.

        With `one` a batch of several is refused as well.
        """
        images.check(images_, one=one)
        self.shapes((images_.shape[2], images_.shape[3]))

    def remember(self, key: Hashable, build: Callable[[], T], *, keep: int = 8) -> T:
        """What a method works out about this network, kept from one call to the next.

        The `keep` most recently used results stay.
        """
        with self._lock:
            if key not in self._remembered:
                self._remembered[key] = build()
            self._remembered.move_to_end(key)
            while len(self._remembered) > keep:
                self._remembered.popitem(last=False)
            return self._remembered[key]  # type: ignore[no-any-return]

    def forget(self) -> None:
        """Drop what `remember` keeps."""
        with self._lock:
            self._remembered.clear()

    # Classes and targets

    def class_index(self, name: str | int) -> int:
        """The index of a category, by name (case, spaces and hyphens do not matter) or index.

        Errors: `UnknownClass` with the nearest names, or with all that the name fits.
        """
        return index_of(name, self.categories, self.name)

    def target(self, wanted: TargetLike) -> Target:
        """What is to be explained, checked: a class ("goldfish" or 1), (layer, channel) or
        (layer, channel, (row, column)).

        Errors: `UnknownClass`, `UnknownLayer`, `BadSetting`.
        """
        if isinstance(wanted, Target):
            return wanted
        if isinstance(wanted, str | int):
            index = self.class_index(wanted)
            return Target(None, index, None, self.categories[index])
        if not isinstance(wanted, tuple) or len(wanted) not in (2, 3):
            raise BadSetting(
                f"{wanted!r} is no target: give a class, (layer, channel) or "
                "(layer, channel, (row, column))"
            )
        return self._unit(*wanted)

    def _unit(self, layer: str, channel: int, position: Pair | None = None) -> Target:
        place = self.layer(layer)
        if not isinstance(channel, int) or not 0 <= channel < place.shape[0]:
            raise BadSetting(
                f"{place.title} has the channels 0 to {place.shape[0] - 1}, not {channel!r}"
            )
        title = f"{place.title}, channel {channel}"
        if position is None:
            return Target(place.name, channel, None, title)
        if not place.has_map:
            raise BadSetting(f"{place.title} has no map, so its units have no position")
        position = checked_position(position)
        return Target(place.name, channel, position, f"{title} at {position}")

    def placed(self, target: Target, size: Pair) -> Target:
        """The same target, if its position lies in its layer's map for images of this size.

        Errors: `BadSetting`.
        """
        if target.position is not None:
            height, width = self.shapes(size)[self.node_of(target)][2:]
            if target.position[0] >= height or target.position[1] >= width:
                raise BadSetting(
                    f"{target}: for images of {size[0]} x {size[1]} pixels the layer's map is "
                    f"{height} x {width}, so rows go to {height - 1} and columns to {width - 1}"
                )
        return target

    def node_of(self, target: Target) -> fx.Node:
        """The node whose activations hold the target's value."""
        return self.output if target.layer is None else self.node(target.layer)

    # Layers

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, in execution order."""
        return tuple(self._layers.values())

    def layer(self, name: str) -> Layer:
        """A layer by its slide name ("fire5", "conv5_1") or PyTorch's dotted one.

        Errors: `UnknownLayer` with the three nearest names.
        """
        return self._layers[self.node(name)]

    def layer_of(self, node: fx.Node) -> Layer:
        """The layer that a node of `graph` is."""
        return self._layers[node]

    def node(self, layer: str) -> fx.Node:
        """The node of `graph` that computes a layer."""
        node = self._by_name.get(layer)
        if node is None:
            titles = [name for known in self.layers for name in (known.name, *known.aliases)]
            close = ", ".join(nearest(str(layer), titles))
            raise errors.UnknownLayer(
                f"{self.name} has no layer {layer!r}; the nearest names are {close} "
                "(network.layers lists all)"
            )
        return node

    def operation(self, node: fx.Node) -> Operation:
        """What a node of `graph` does."""
        return self._operations[node]

    def stride(self, node: fx.Node) -> Pair:
        """How many image pixels, (rows, columns), lie between neighbours in a node's map."""
        return self._fields[node][0] or self.input_size

    @functools.cached_property
    def _fields(self) -> Fields:
        return layers.fields(self.operations, self.shapes(self.input_size))

    @functools.cached_property
    def _layers(self) -> dict[fx.Node, Layer]:
        shapes = self.shapes(self.input_size)
        shown = [o for o in self.operations if o.kind not in {"placeholder", "normalize"}]
        shown = [o for o in shown if len(shapes[o.node]) > 1]
        dotted = [str(o.node.meta[tracing.LAYER_NAME]) for o in shown]
        slides = slide_names.slide_names(self._architecture, dotted, shown)
        return {
            o.node: Layer(name, tuple(also), o.kind, shapes[o.node][1:], *self._fields[o.node])
            for o, name, also in zip(shown, dotted, slides, strict=True)
        }

    @functools.cached_property
    def _by_name(self) -> dict[str, fx.Node]:
        """Every name of every layer; a container's name means the last layer in it."""
        by_name: dict[str, fx.Node] = {}
        for node, layer in self._layers.items():
            parts = layer.name.split(".")
            for depth in range(1, len(parts)):
                by_name[".".join(parts[:depth])] = node
        for node, layer in self._layers.items():
            by_name.update(dict.fromkeys(layer.aliases, node))
        for node, layer in self._layers.items():
            by_name[layer.name] = node
        return by_name

    # Shapes

    def shapes(self, image_size: Pair) -> Mapping[fx.Node, Size]:
        """The shape that each node has for one image of this size (height, width).

        Errors: `BadImage` where the network cannot take that size, with the layer that refuses.
        """
        with self._lock:
            if image_size not in self._shapes:
                self._shapes[image_size] = self._find_shapes(image_size)
            return self._shapes[image_size]

    def _find_shapes(self, image_size: Pair) -> dict[fx.Node, Size]:
        nodes = tuple(o.node for o in self.operations)
        try:
            values = self._without_computing(nodes, image_size)
        except _REFUSALS as error:
            raise errors.BadImage(self._refusal(nodes, image_size, error)) from None
        return {
            node: tuple(value.shape) if isinstance(value, torch.Tensor) else ()
            for node, value in zip(nodes, values, strict=True)
        }

    def _without_computing(self, nodes: tuple[fx.Node, ...], size: Pair) -> Sequence[object]:
        # Not kept in _parts: a module that gives back every node is of no other use.
        whole = tracing.subgraph(self.graph, nodes)
        weights = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
        empty = {name: torch.empty_like(w, device="meta") for name, w in weights.items()}
        image = torch.empty((1, 3, *size), device="meta")
        result: Sequence[object] = torch.func.functional_call(whole, empty, (image,))
        return result

    def _refusal(self, nodes: tuple[fx.Node, ...], size: Pair, error: Exception) -> str:
        works, fails = 0, len(nodes)
        while fails - works > 1:
            middle = (works + fails) // 2
            try:
                self._without_computing(nodes[:middle], size)
                works = middle
            except _REFUSALS:
                fails = middle
        refusing = nodes[fails - 1].meta.get(tracing.LAYER_NAME, nodes[fails - 1].name)
        if size == self.input_size:
            raise errors.CannotTrace(
                f"{self.name} does not take RGB images of {size[0]} x {size[1]} pixels: its layer "
                f"{refusing!r} says: {error}. Images have three channels (average them in forward "
                "for a grey network: x.mean(1, keepdim=True)); input_size= names another size"
            )
        standard = f"{self.input_size[0]} x {self.input_size[1]}"
        return (
            f"an image of {size[0]} x {size[1]} pixels (height x width) does not fit {self.name}: "
            f"its layer {refusing!r} cannot take it. Its own size is {standard}: "
            "images.resize(image, ...) brings it there"
        )

    def _count_classes(self) -> int:
        shape = self.shapes(self.input_size)[self.output]
        if len(shape) != 2:
            raise errors.CannotTrace(
                f"{self.name} gives back {shape or 'no tensor'}; a classifier gives (N, classes)"
            )
        return shape[1]


def _rebuilt(
    graph: fx.GraphModule, names: Sequence[str | None], settings: Mapping[str, Any]
) -> Network:
    """A network from its pickle. A graph's own pickle does not hold the names of its layers."""
    for node, name in zip(graph.graph.nodes, names, strict=True):
        if name is not None:
            node.meta[tracing.LAYER_NAME] = name
    return Network(graph, **settings)


def ranking_of(
    scores: torch.Tensor, categories: Sequence[str], k: int = 5
) -> list[list[Prediction]]:
    """For each row of scores (N, classes) the `k` most probable categories, the best first."""
    scores = scores.detach().float().cpu()
    best = scores.softmax(1).topk(min(k, scores.shape[1]))
    return [
        [
            Prediction(categories[i], float(p), float(row[i]), int(i))
            for p, i in zip(probabilities, indices.tolist(), strict=True)
        ]
        for row, probabilities, indices in zip(scores, best.values, best.indices, strict=True)
    ]


def index_of(name: object, categories: Sequence[str], whose: str) -> int:
    """The index of a category, by name or index; `whose` begins the errors: `UnknownClass`."""
    count = len(categories)
    if isinstance(name, int):
        if not 0 <= name < count:
            raise UnknownClass(f"{whose} has the classes 0 to {count - 1}, not {name}")
        return name
    if not isinstance(name, str):
        raise UnknownClass(
            f"{name!r} is no class: give its name, or its index from 0 to {count - 1}"
        )
    fitting = [i for i, known in enumerate(categories) if _plain(known) == _plain(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UnknownClass(
            f"{whose} has {len(fitting)} classes called {name!r}: "
            f"say which by its index, {' or '.join(map(str, fitting))}"
        )
    close = ", ".join(repr(word) for word in nearest(name, categories))
    raise UnknownClass(f"{whose} knows no class {name!r}; the nearest names are {close}")


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()
