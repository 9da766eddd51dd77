"""Image classifiers, opened up: every layer by name, every number at hand.

A `Network` takes images in [0, 1] and gives scores; the normalization that its weights expect is
its first layer. It is recorded once, so its layers are the nodes of a graph, and any part of it can
be computed without the rest.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import fx, nn

from labsupport.core import device as devices
from labsupport.core import errors, images, modes
from labsupport.core.errors import BadSetting, UnknownClass, nearest
from labsupport.core.network import copies, graphs, layers, opaque, rewrites, slide_names
from labsupport.core.network.layers import Fields, Layer, Target, checked_position
from labsupport.core.network.opaque import OpaquePart
from labsupport.core.network.operations import Operation, Pair, Size, operation
from labsupport.core.network.probing import KNOWN, Reads, probed, trial_sizes
from labsupport.core.network.recorder import SHAPE, TYPE
from labsupport.core.network.students_lines import line_of
from labsupport.core.network.tracing import BATCH, MIXES, Origin, Traced

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
    """A recorded classifier. Build one with `load` or `wrap`.

    `name`, `source` (where the weights came from, in words), `device`, `categories`, `input_size`
    (height, width), `mean` and `std` of its normalization, `layers` (in execution order) and
    `notes` (what was put right when it was wrapped, in words) describe it; calling it computes
    scores.

    For methods that need more, `graph` is the recorded module, `operations` what its nodes do,
    `output` the node of the scores. A network that looks at the size of its images is another one
    `at` another size, with nodes of its own; layers have the same names.
    """

    def __init__(
        self,
        traced: Traced,
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
        with torch.inference_mode(False):  # what is made inside it is of no use outside
            graph = traced.graph.to(self.device)
            self.graph = graph if traced.opaque else _channels_last(graph)
        self.notes, self.opaque = traced.notes, traced.opaque
        every = self.graph.graph.nodes
        nodes = [node for node in every if node.op not in {"get_attr", "output"}]
        self.operations: tuple[Operation, ...] = tuple(
            operation(node, self.graph) for node in nodes
        )
        self._operations = {one.node: one for one in self.operations}
        normalize = next(o.module for o in self.operations if o.kind == "normalize")
        self.mean, self.std = (
            tuple(round(value, 6) for value in buffer.expand(1, 3, 1, 1).flatten().tolist())
            for buffer in normalize.buffers()  # type: ignore[union-attr]
        )
        self.output = next(node for node in every if node.op == "output").args[0]
        origin = traced.origin if traced.guards else None  # without, every size has this graph
        self._traced = replace(traced, origin=origin and origin.to(self.device))
        self._sized: dict[Pair, Network] = {input_size: self}
        self._architecture = architecture
        self._lock = threading.RLock()
        self._parts: dict[tuple[fx.Node, ...], nn.Module] = {}
        self._shapes: dict[tuple[Pair, frozenset[fx.Node] | None], Mapping[fx.Node, Size]] = {}
        self._remembered: OrderedDict[Hashable, Any] = OrderedDict()
        maps = categories == () and len(self.shapes(input_size)[self.output]) == 4
        classes = 0 if maps else self._count_classes()
        self.categories = tuple(categories or (f"class {i}" for i in range(classes)))
        if len(self.categories) != classes:
            raise BadSetting(
                f"{name} gives {classes} scores, but {len(self.categories)} categories were named"
            )

    def __repr__(self) -> str:
        return f"Network({self.name}, {len(self.categories)} classes, {self.source}, {self.device})"

    # Computing

    @modes.usual()
    def __call__(self, images_: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) before softmax, on the network's device; gradients flow through.

        Errors: `BadImage` for anything but images (N, 3, H, W) in [0, 1], for a size that this
        network cannot take, and where a score is no number.
        """
        self.check(images_)
        return self.scores(images_)

    @modes.usual()
    def scores(self, images_: torch.Tensor) -> torch.Tensor:
        """The same for images that were checked before, as an optimization's steps are."""
        self.need_classes()
        return self.numbers(self.part((self.output,))(self.send(images_))[0])

    @modes.usual()
    def predict(self, images_: torch.Tensor, k: int = 5) -> list[list[Prediction]]:
        """For each image its `k` most probable categories, the best first."""
        with torch.no_grad():
            return self.ranking(self(images_), k)

    def ranking(self, scores: torch.Tensor, k: int = 5) -> list[list[Prediction]]:
        """The same from scores (N, classes) that are there already."""
        return ranking_of(scores, self.categories, k)

    @modes.usual()
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

        @modes.usual()
        def early_exit(images_: torch.Tensor) -> torch.Tensor:
            return part(self.send(images_))[0]  # type: ignore[no-any-return]

        return early_exit

    def part(self, nodes: tuple[fx.Node, ...]) -> nn.Module:
        """The module that computes these nodes of `graph` and nothing that they do not need.

        Given images of another size, it computes the same layers of the network `at` that size.
        """
        with self._lock:
            if nodes not in self._parts:
                part = self._part(nodes)
                self._parts[nodes] = graphs.OneByOne(part) if self.one_by_one else part
            return self._parts[nodes]

    def _part(self, nodes: tuple[fx.Node, ...]) -> nn.Module:
        if self.opaque:
            return OpaquePart(self.graph, nodes)
        part = rewrites.optimized(graphs.subgraph(self.graph, nodes))
        return SizedPart(self, nodes, part) if self._traced.guards else part

    @property
    def one_by_one(self) -> bool:
        """Whether each image is computed alone: the module's answer to it depends on the others of
        a batch, or may do so, as where there is no graph."""
        return bool(self.opaque) or MIXES in self.notes

    def numbers(self, values: torch.Tensor) -> torch.Tensor:
        """These values that it computed. Errors: `BadImage` where one of them is no number."""
        if bool(values.isnan().any()):
            raise errors.BadImage(
                f"{self.name} gives no number (NaN) for this image: something in its forward pass "
                "has no value there, such as a division by a standard deviation of 0. Add a small "
                "number there, as in x / (x.std() + 1e-5), or take another image"
            )
        return values

    def need_classes(self) -> None:
        """Raise `NoClasses` where the network ends before them, with what can be had instead."""
        if not self.categories:
            last = self._layers[self.output]
            raise errors.NoClasses(
                f"{self.name} ({self.source}) ends at {last.title}, before its classes. A unit of "
                f"a layer can be asked for, such as ({last.title!r}, 0); a network with classes is "
                f"networks.load(), and {self.name} whole, once there is a connection, "
                f"networks.load({self.name!r}, weights='torchvision')"
            )

    def need_graph(self, what: str) -> None:
        """Raise `BadSetting` for an opaque network: what is asked for, in words, needs a graph."""
        if self.opaque:
            raise BadSetting(
                f"{self.opaque}. So {what} are not to be had of it: write its forward so that it "
                "can be recorded, or take another network"
            )

    def at(self, size: Pair) -> Network:
        """The network for images of this size (height, width): itself, unless its forward pass
        looks at their size and goes another way.

        Errors: `BadImage` where the network cannot take that size.
        """
        with self._lock:
            if size not in self._sized and self._traced.guards:
                self._sized[size] = self._recorded_at(size)
            return self._sized.get(size, self)

    def _recorded_at(self, size: Pair) -> Network:
        try:
            traced = self._traced.at(size)
        except errors.CannotTrace as error:
            cause = error.__cause__ or error
            reason = f"its forward says: {cause} {line_of(cause)}".rstrip()
            raise errors.BadImage(self._does_not_fit(size, reason)) from None
        if traced is self._traced:
            return self
        return Network(traced, **self._settings() | {"input_size": size})

    def same_layers(self, nodes: Sequence[fx.Node], other: Network) -> tuple[fx.Node, ...]:
        """The nodes of this network that compute the layers of the `other`, by their names.

        Errors: `BadImage` for a layer that is not computed at this size.
        """
        found = []
        for node in nodes:
            own = self.output if node is other.output else self._by_layer_name.get(_name_of(node))
            if own is None:
                raise errors.BadImage(
                    f"{self.name} has no layer {_name_of(node)!r} for images of "
                    f"{self.input_size[0]} x {self.input_size[1]} pixels"
                )
            found.append(own)
        return tuple(found)

    @functools.cached_property
    def _by_layer_name(self) -> dict[str, fx.Node]:
        return {_name_of(one.node): one.node for one in self.operations}

    def send(self, images_: torch.Tensor) -> torch.Tensor:
        """Images on this network's device, in single precision, channels-last, as it likes them."""
        return images_.to(self.device, torch.float32, memory_format=torch.channels_last)

    def copy(
        self,
        *,
        graph: fx.GraphModule | None = None,
        name: str | None = None,
        source: str | None = None,
        device: str | torch.device | None = None,
    ) -> Network:
        """The same network with weights of its own, which may be changed, with another graph or on
        another device.

        `source` says in words what becomes of the weights.
        """
        changed: dict[str, Any] = {"name": name or self.name, "source": source or self.source}
        changed["device"] = self.device if device is None else device
        own = Traced(graph, None, self.notes) if graph else copy.deepcopy(self._traced)
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
        contents = nn.Module()
        for kind in ("_modules", "_parameters", "_buffers"):
            vars(contents)[kind] = vars(self.graph)[kind]
        rest = (self._traced.origin, self.notes, self._settings(), self.opaque)
        graph = copy.deepcopy(self.graph.graph)  # the one in use would take its module along
        return _rebuilt, (contents, graph, *rest)

    def check(
        self, images_: torch.Tensor, *, one: bool = False, up_to: Iterable[fx.Node] | None = None
    ) -> None:
        """Raise `BadImage` unless these are images in [0, 1] of a size that the network takes.

        With `one` a batch of several is refused as well. With `up_to` it is enough that these
        nodes can be computed: the size may be one that only a later layer refuses.
        """
        images.check(images_, one=one)
        self.shapes((images_.shape[2], images_.shape[3]), up_to)

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

        Errors: `UnknownClass` with the nearest names, or with all that the name fits; `NoClasses`.
        """
        self.need_classes()
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
        """Every layer, in execution order: what gives real numbers, a row for each image."""
        return tuple(one for node, one in self._layers.items() if node not in self._unread)

    def layer(self, name: str) -> Layer:
        """A layer by its slide name ("fire5", "conv5_1") or PyTorch's dotted one.

        Errors: as `node`.
        """
        return self._layers[self.node(name)]

    def layer_of(self, node: fx.Node) -> Layer:
        """The layer that a node of `graph` is."""
        return self._layers[node]

    def node(self, layer: str, *, for_weights: bool = False) -> fx.Node:
        """The node of `graph` that computes a layer.

        Errors: `UnknownLayer` with the three nearest names; and for a layer that gives anything but
        real numbers, a row for each image, unless it is asked for its weights.
        """
        node = self._by_name.get(layer)
        if node is None:
            titles = [name for known in self.layers for name in (known.name, *known.aliases)]
            close = ", ".join(nearest(str(layer), titles))
            raise errors.UnknownLayer(
                f"{self.name} has no layer {layer!r}; the nearest names are {close} "
                "(network.layers lists all)"
            )
        if node in self._unread and not for_weights:
            raise errors.UnknownLayer(self._why_unread(node))
        return node

    def _why_unread(self, node: fx.Node) -> str:
        """What a layer gives that no method reads, and the layers beside it that work."""
        return (
            f"the layer {self._layers[node].title!r} of {self.name} gives {self._unread[node]}; "
            "methods look into layers that give real numbers, a row for each image. "
            f"{self._beside(node, lambda _: True)}"
        )

    def _beside(self, node: fx.Node, fits: Callable[[Layer], bool]) -> str:
        """The layers that fit next before and after a node, in words."""
        own, known = self._layers[node], self.layers
        order = list(self._layers.values())
        place = order.index(own)
        before = [one.title for one in order[:place] if one in known and fits(one)]
        after = [one.title for one in order[place + 1 :] if one in known and fits(one)]
        near = " and ".join([*before[-1:], *after[:1]])
        return f"Layers near it that work: {near or 'none'} (network.layers lists all)"

    def with_maps(self, name: str, *, or_vector: bool = False) -> Layer:
        """A layer with feature maps or, if that will do, with one number for each channel.

        Errors: `UnknownLayer`; `BadSetting` names layers that have them.
        """
        layer = self.layer(name)

        def fits(one: Layer) -> bool:
            return one.has_map or (or_vector and len(one.shape) == 1)

        if not fits(layer):
            raise BadSetting(
                f"{layer.title} has no maps (channels, rows, columns): it gives numbers of shape "
                f"{layer.shape} for an image. {self._beside(self.node(name), fits)}"
            )
        return layer

    def operation(self, node: fx.Node) -> Operation:
        """What a node of `graph` does."""
        return self._operations[node]

    def stride(self, node: fx.Node) -> Pair:
        """How many image pixels, (rows, columns), lie between neighbours in a node's map."""
        return self._fields[node][0] or self.input_size

    @functools.cached_property
    def _fields(self) -> Fields:
        return layers.fields(self.operations, self.shapes(self.input_size), self.reads)

    @functools.cached_property
    def reads(self) -> Mapping[fx.Node, Reads]:
        """What operations read of the maps before them that there is no rule for."""
        reckoned = KNOWN | {"flatten", "linear"}
        if self.opaque or all(one.kind in reckoned for one in self.operations):
            return {}
        sizes: Sequence[Pair] = trial_sizes(self.input_size)
        try:
            shapes = [self.shapes(size) for size in sizes if self.at(size) is self]
        except errors.BadImage:
            shapes = []
        if len(shapes) < len(sizes):
            shapes = [self.shapes(self.input_size)]
        return probed(self.graph, self.operations, shapes)

    @functools.cached_property
    def _layers(self) -> dict[fx.Node, Layer]:
        shapes = self.shapes(self.input_size)
        shown = [o for o in self.operations if o.kind not in {"placeholder", "normalize"}]
        shown = [o for o in shown if len(shapes[o.node]) > 1]
        dotted = [str(o.node.meta[graphs.LAYER_NAME]) for o in shown]
        slides = slide_names.slide_names(self._architecture, dotted, shown)
        return {
            o.node: Layer(
                name,
                tuple(also),
                str(o.node.meta.get(opaque.KIND, o.kind)),
                shapes[o.node][1:],
                *self._fields[o.node],
            )
            for o, name, also in zip(shown, dotted, slides, strict=True)
        }

    @functools.cached_property
    def _unread(self) -> Mapping[fx.Node, str]:
        """The layers that no method can look into, each with what it gives, in words."""
        shapes, found = self.shapes(self.input_size), {}
        for node in self._layers:
            numbers = node.meta.get(TYPE, torch.float32)
            if not numbers.is_floating_point:
                kinds = {torch.bool: "true or false"}
                whole = "complex numbers" if numbers.is_complex else "whole numbers"
                found[node] = kinds.get(numbers, whole)
            elif (shapes[node][0], node.meta.get(SHAPE, (BATCH,))[0]) != (1, BATCH):
                found[node] = f"numbers of shape {shapes[node]} for one image"
        return found

    @functools.cached_property
    def _by_name(self) -> dict[str, fx.Node]:
        """Every name of every layer; a container's name means the last layer in it."""
        by_name: dict[str, fx.Node] = {}
        for node, layer in sorted(self._layers.items(), key=lambda one: one[0] not in self._unread):
            parts = layer.name.split(".")
            for depth in range(1, len(parts)):
                by_name[".".join(parts[:depth])] = node
        for node, layer in self._layers.items():
            by_name.update(dict.fromkeys(layer.aliases, node))
        for node, layer in self._layers.items():
            by_name[layer.name] = node
        return by_name

    # Shapes

    def shapes(
        self, image_size: Pair, up_to: Iterable[fx.Node] | None = None
    ) -> Mapping[fx.Node, Size]:
        """The shape that each node has for one image of this size (height, width).

        With `up_to`, those of these nodes, and of all that they need.

        Errors: `BadImage` where the network cannot take that size, with the layer that refuses.
        """
        key = (image_size, None if up_to is None else frozenset(up_to))
        with self._lock:
            if key not in self._shapes:
                self._shapes[key] = self._find_shapes(*key)
            return self._shapes[key]

    def _find_shapes(
        self, image_size: Pair, up_to: frozenset[fx.Node] | None
    ) -> Mapping[fx.Node, Size]:
        if up_to is not None and not up_to:
            return {}
        there, nodes = self.at(image_size), tuple(o.node for o in self.operations)
        if up_to:
            try:
                return self.shapes(image_size)
            except errors.BadImage:
                needed = graphs.needed_for(up_to)
                nodes = tuple(node for node in nodes if node in needed)
        if there is not self:
            shapes = there.shapes(image_size)
            known = {_name_of(node): shape for node, shape in shapes.items()}
            return {node: known.get(_name_of(node), ()) for node in nodes}
        try:
            values = self._without_computing(nodes, image_size)
        except _REFUSALS:
            raise errors.BadImage(self._refusal(nodes, image_size)) from None
        return {
            node: tuple(value.shape) if isinstance(value, torch.Tensor) else ()
            for node, value in zip(nodes, values, strict=True)
        }

    def _without_computing(self, nodes: Sequence[fx.Node], size: Pair) -> Sequence[object]:
        if not self.opaque:
            return graphs.without_computing(self.graph, nodes, (1, 3, *size))
        images_ = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), copies.undisturbed():
            values: Sequence[object] = self.part(tuple(nodes))(self.send(images_))
        return values

    def _refusal(self, nodes: tuple[fx.Node, ...], size: Pair) -> str:
        works, fails = 0, len(nodes)
        while fails - works > 1:
            middle = (works + fails) // 2
            try:
                self._without_computing(nodes[:middle], size)
                works = middle
            except _REFUSALS:
                fails = middle
        return self._does_not_fit(size, f"its layer {_name_of(nodes[fails - 1])!r} cannot take it")

    def _does_not_fit(self, size: Pair, reason: str) -> str:
        if size == self.input_size:
            return (
                f"{self.name} takes no image alone: {reason}. Let its forward work for any number "
                "of images: x.view(x.size(0), -1), x.squeeze(1)"
            )
        standard = f"{self.input_size[0]} x {self.input_size[1]}"
        return (
            f"an image of {size[0]} x {size[1]} pixels (height x width) does not fit {self.name}: "
            f"{reason}. Its own size is {standard}: images.resize(image, ...) brings it there"
        )

    def _count_classes(self) -> int:
        shape = self.shapes(self.input_size)[self.output]
        if len(shape) != 2:
            raise errors.CannotTrace(
                f"{self.name} gives back {shape or 'no tensor'}; a classifier gives (N, classes)"
            )
        return shape[1]


def _rebuilt(
    contents: nn.Module,
    graph: fx.Graph,
    origin: Origin | None,
    notes: tuple[str, ...],
    settings: Mapping[str, Any],
    opaque: str,
) -> Network:
    """A network from its pickle: a graph module's own would be traced anew."""
    return Network(Traced(fx.GraphModule(contents, graph), origin, notes, opaque), **settings)


class SizedPart(fx.GraphModule):
    """A part of a network whose graph belongs to one image size; for others, the same layers of the
    network at that size."""

    def __init__(self, network: Network, nodes: tuple[fx.Node, ...], part: fx.GraphModule) -> None:
        super().__init__(part, part.graph)
        self.network, self.nodes = network, nodes

    def __call__(self, images_: torch.Tensor) -> Any:
        there = self.network.at((images_.shape[-2], images_.shape[-1]))
        if there is self.network:
            return super().__call__(images_)
        return there.part(there.same_layers(self.nodes, self.network))(images_)


def _channels_last(graph: fx.GraphModule) -> fx.GraphModule:
    """With the filters in the order in which images come."""
    for weights in graph.parameters():
        if weights.ndim == 4:
            weights.data = weights.data.to(memory_format=torch.channels_last)
    return graph


def _name_of(node: fx.Node) -> str:
    """The name of a node's layer; of a node that is none, its own."""
    return str(node.meta.get(graphs.LAYER_NAME, node.name))


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
