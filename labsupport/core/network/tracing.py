"""A module's computation as a graph that no method has to be afraid of.

`trace` copies the module, records what it does to an example and spells it in one way. The module
itself is left alone.
"""

from __future__ import annotations

import contextlib
import keyword
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from labsupport.core.errors import BadImage, CannotRecord, CannotTrace
from labsupport.core.network import constants, copies, counts, spelling
from labsupport.core.network.architectures.convolutions import Convolutions
from labsupport.core.network.endings import Ending, end_in_scores
from labsupport.core.network.graphs import LAYER_NAME, without_computing
from labsupport.core.network.operations import Normalize, Pair
from labsupport.core.network.recorder import SHAPE, Recorder, record
from labsupport.core.network.sizes import READ
from labsupport.core.network.students_lines import line_of

# Images in an example. Of one alone, the sides of length 1 could not be told from the batch.
BATCH = 2
MIXES = "what it says of an image depends on the others beside it: each is computed alone here"
_SCORES = (  # in a dictionary or named tuple of results
    *("logits", "class_logits", "scores", "out", "output", "outputs", "predictions"),
    *("prediction", "preds", "pred", "y_hat", "cls", "classes", "head"),
)


_OF_SHAPES = ("shape", "size", "channel", "dimension")  # words of what layers say of them


@dataclass(frozen=True)
class Traced:
    """A recorded module: its graph, after a `Normalize`, and what there is to say of it.

    Every node knows its layer's name as `node.meta[graphs.LAYER_NAME]`. `origin` records the module
    anew for another image size. The graph of an `opaque` network is but a list of its layers.
    """

    graph: fx.GraphModule
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    opaque: str = ""  # why there is no graph, see the module of that name

    @property
    def guards(self) -> tuple[fx.Node, ...]:
        """The nodes of the sizes that the module was told; it may have decided by them."""
        return tuple(node for node in self.graph.graph.nodes if READ in node.meta)

    def at(self, size: Pair) -> Traced:
        """The same for images of another size: this one, unless the module is told other sizes.

        Errors: `BadImage` where the module does not take that size.
        """
        if not self.guards:
            return self
        told: Sequence[int] = ()
        with contextlib.suppress(Exception):  # the graph of one size may not fit another
            told = without_computing(self.graph, self.guards, (BATCH, 3, *size))
        if tuple(told) == tuple(node.meta[READ] for node in self.guards):
            return self
        if self.origin is None:
            raise BadImage(f"this changed network takes images of one size alone, not of {size}")
        with copies.undisturbed():
            graph = self.origin.recorded(size)
        return self if _alike(graph, self.graph) else replace(self, graph=graph)


def trace(
    module: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: Pair,
    *,
    computing: bool = True,
) -> Traced:
    """Record a copy of `module` in eval mode, its weights frozen, on images of a size (H, W).

    Without `computing` nothing but shapes is worked out, on the device "meta": that is fast, and
    for modules whose forward makes no tensors out of nothing.

    Errors: `CannotTrace` says why the forward pass cannot be written down.
    """
    return traced(origin_of(module, mean, std, computing=computing), size)


def origin_of(
    module: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    computing: bool = True,
    classes: int = 0,
) -> Origin:
    """A copy of `module` in eval mode that can be recorded; of so many `classes`, if that is known.

    Errors: `CannotTrace`.
    """
    with copies.undisturbed():
        origin = Origin(copies.unwrapped(module), Normalize(mean, std), computing)
    origin.classes = classes
    return origin


def traced(origin: Origin, size: Pair) -> Traced:
    """The module recorded on images of a size (H, W).

    Errors: `CannotTrace`; `CannotRecord`, one of them, where it runs all the same.
    """
    with copies.undisturbed():
        graph = origin.recorded(size)
    return Traced(graph, origin, (*origin.notes, *origin.ending.notes()))


class Origin(nn.Module):
    """A copy of a module after its normalization, to be run and recorded at any size."""

    def __init__(self, module: nn.Module, normalize: Normalize, computing: bool) -> None:
        super().__init__()
        copies.refuse_unusable(module, computing=computing)
        self.title = str(getattr(module, "original_name", type(module).__name__))
        self.computing = computing
        self.notes: list[str] = []
        self.ends_in_maps = isinstance(module, Convolutions)
        # to the scores, in what the module gives
        self.path: tuple[Any, ...] | None = () if self.ends_in_maps else None
        self.answer: torch.Tensor | None = None  # its own scores for the example
        self.counting = False  # whether two recordings tell where the number of images goes
        self.probabilities, self.ending = False, Ending()
        self.colours, self.classes = normalize.mean.shape[1], 0  # 0: it is not known how many
        self.module, self.normalize = copies.own_copy(module), normalize
        self.kept = copies.kept(self.module)  # before its first call
        self._in_single_precision()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The module's own scores for images (N, 3, H, W) in [0, 1]."""
        return self.after_normalization(self.normalize(images))

    def after_normalization(self, normalized: torch.Tensor) -> torch.Tensor:
        """The same for what the normalization gives."""
        return self._scores(self.module(normalized)).reshape(len(normalized), -1)

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """The module's own scores, for the first time.

        Errors: `CannotTrace` where it does not run.
        """
        try:
            return self.forward(images)
        except CannotTrace:
            raise
        except Exception as error:
            size = (images.shape[2], images.shape[3])
            raise CannotTrace(self._does_not_run(size, error)) from error

    def example(self, size: Pair, seed: int = 0, count: int = BATCH) -> torch.Tensor:
        """Images of chance colours."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand((count, 3, *size), generator=generator)
        return images.to(self.normalize.mean.device)

    def recorded(self, size: Pair) -> fx.GraphModule:
        """The graph for images of this size.

        Errors: `CannotTrace`.
        """
        if any(isinstance(part, torch.jit.ScriptModule) for part in self.module.modules()):
            raise CannotRecord(f"{self.title} is TorchScript, which cannot be looked into")
        for counting in (self.counting, True):
            self.counting = counting
            try:
                return self._recorded(size)
            except CannotTrace:
                raise
            except Exception as error:  # PyTorch's, of a step with another number of images
                why = error
        raise CannotRecord(self._stops(why)) from why

    def _recorded(self, size: Pair) -> fx.GraphModule:
        weights = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        first = "normalize"
        while hasattr(self.module, first):
            first = f"{first}_"
        more = self._run(size, weights, first, BATCH + 1) if self.counting else None
        recorder = self._run(size, weights, first)  # the last one: its answer stays
        if more is not None:
            self._follow_count(recorder, more)
        values = {**weights, **recorder.constants, first: self.normalize}
        for node in recorder.graph.nodes:
            if node.op == "call_module" and node.target != first:
                layer = self.module.get_submodule(node.target)
                values[node.target] = copies.without_hooks(layer)
        constants.fold(recorder.graph, values, (BATCH + 1, 3, *size))
        spelling.spell(recorder.graph, values)
        if not self.ends_in_maps:
            self.ending = end_in_scores(recorder.graph, values, probabilities=self.probabilities)
        _without_keywords(recorder.graph, values)
        return fx.GraphModule(values, recorder.graph)

    def _run(
        self, size: Pair, weights: Mapping[str, torch.Tensor], first: str, count: int = BATCH
    ) -> Recorder:
        example = self.normalize(self.example(size, count=count))
        if not self.computing:
            weights = {name: torch.empty_like(w, device="meta") for name, w in weights.items()}
            example = example.to("meta")
        try:
            recorder, result = record(self.module, example, weights, first)
            scores = self._scores(result)
            node = recorder.node(scores)
        except CannotRecord as error:
            raise CannotRecord(f"{self.title} cannot be recorded: {error}") from None
        except CannotTrace:
            raise
        except Exception as error:
            if not self.computing or not self._runs(example):
                raise CannotTrace(self._does_not_run(size, error)) from error
            raise CannotRecord(self._stops(error)) from error
        if scores.ndim == 1:
            node = recorder.graph.call_method("unsqueeze", (node, 1))
            node.meta.update({LAYER_NAME: "scores", SHAPE: (count, 1)})
        recorder.graph.output(node)
        self.answer = scores.reshape(count, -1) if self.computing else None
        return recorder

    def _follow_count(self, recorder: Recorder, other: Recorder) -> None:
        try:
            self.counting = counts.follow_count(recorder, other)
        except CannotRecord as error:
            raise CannotRecord(f"{self.title} cannot be recorded: {error}") from None

    def _runs(self, normalized: torch.Tensor) -> bool:
        with contextlib.suppress(Exception):
            self.module(normalized)
            return True
        return False

    def _stops(self, error: Exception) -> str:
        return (
            f"{self.title} cannot be recorded: it runs, but not while it is watched "
            f"({type(error).__name__}: {error}) {line_of(error)}".rstrip()
        )

    def _does_not_run(self, size: Pair, error: Exception) -> str:
        place = getattr(error, "failed_in", "")
        where = f"its layer {place!r}" if place else "its forward"
        said = f"{where} says: {error} {line_of(error)}".rstrip()
        if not any(word in str(error).lower() for word in _OF_SHAPES):
            said = said.replace("says:", f"says: {type(error).__name__}:", 1)
            return (
                f"{self.title} does not run: {said}. Mend your module until it answers "
                f"torch.rand({BATCH}, {self.colours}, {size[0]}, {size[1]}), and wrap it again"
            )
        return (
            f"{self.title} does not take {'RGB' if self.colours == 3 else 'grey'} images of "
            f"{size[0]} x {size[1]} pixels: {said}. {self._advice(str(error))}"
        )

    def _advice(self, said: str) -> str:
        """What to do about shapes that do not fit, by what PyTorch says of them."""
        if "channels" in said and self.colours == 3:
            return (
                "Images have three channels: for a grey network give mean and std one number each, "
                "mean=(0.5,), or average in forward: x.mean(1, keepdim=True)"
            )
        if "channels" in said:
            return "mean and std of one number each mean grey images: give three for RGB images"
        return (
            "If it was made for images of another size, name that: input_size=; else mend its "
            "forward, in which the number of images may be any"
        )

    def _scores(self, result: Any) -> torch.Tensor:
        """The scores in what the module gives: a tensor, or the one in a tuple or dictionary."""
        if self.path is None:
            self.path = _path_to_scores(result, self.title, self.classes)
            if self.path:
                place = "".join(f"[{key!r}]" for key in self.path)
                what = type(result).__name__
                self.notes.append(f"of the {what} that its forward gives, {place} are the scores")
        for key in self.path:
            named = isinstance(key, str) and not isinstance(result, Mapping)
            result = getattr(result, key) if named else result[key]
        scores: torch.Tensor = result
        return scores

    def _in_single_precision(self) -> None:
        kinds = {w.dtype for w in self.module.parameters() if w.is_floating_point()}
        for kind in kinds - {torch.float32}:
            name = str(kind).removeprefix("torch.")
            self.notes.append(f"it was made for {name} and computes in single precision here")
            self.module.float()


def _without_keywords(graph: fx.Graph, values: dict[str, Any]) -> None:
    """Give parts called "class" or "None", which no code can name, names that it can."""
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            parts = [part + "_" * keyword.iskeyword(part) for part in node.target.split(".")]
            values[".".join(parts)] = values[node.target]
            node.target = ".".join(parts)


def _alike(one: fx.GraphModule, other: fx.GraphModule) -> bool:
    """Whether two graphs of the same weights compute the same."""
    if str(one.graph) != str(other.graph):
        return False
    own, theirs = dict(one.named_buffers()), dict(other.named_buffers())
    return all(torch.equal(value, theirs[name]) for name, value in own.items())


def _path_to_scores(result: Any, title: str, classes: int) -> tuple[Any, ...]:
    """The keys that lead to the scores (N, classes), or (N,) where there is no other tensor."""
    found = [(path, one) for path, one in _tensors_in(result) if one.is_floating_point()]
    if result is None:
        raise CannotTrace(
            f"{title}.forward gives back None, as one without a return does: end it with "
            "return scores, (N, classes)"
        )
    if not found or type(result).__module__ == "torch.return_types":
        raise CannotTrace(
            f"{title}.forward gives back no scores but {_decided(result)}: give back the scores "
            "(N, classes) that come before"
        )
    fitting = [path for path, one in found if one.ndim == 2 and len(one) == BATCH]
    fitting = fitting or [path for path, one in found if one.shape == (BATCH,)]
    if not fitting:
        given = f"a {type(result).__name__}"
        if isinstance(result, torch.Tensor):
            given = f"maps ({', '.join(map(str, ('N', *result.shape[1:])))})"
        raise CannotTrace(
            f"{title}.forward gives back {given}; a classifier here gives back one tensor: the "
            "scores (N, classes)"
        )
    named = [path for word in _SCORES for path in fitting if path and path[-1] == word]
    wide = {path: one.shape[1] if one.ndim == 2 else 1 for path, one in found if path in fitting}
    of_classes = [path for path in named or fitting if wide[path] == classes]
    if not named and not of_classes and len(set(wide.values())) > 1:
        counts = " or ".join(map(str, dict.fromkeys(wide.values())))
        raise CannotTrace(
            f"{title}.forward gives back several tensors that could be scores, of {counts} classes:"
            " name the classes, categories=[...], so that the number tells which; or give back the "
            "scores alone, or as the 'logits' of a dictionary"
        )
    first: tuple[Any, ...] = [*of_classes, *named, *fitting][0]
    return first


def _decided(result: Any) -> str:
    """In words: what has decided already."""
    if isinstance(result, torch.Tensor):
        return f"numbers of type {str(result.dtype).removeprefix('torch.')}"
    if type(result).__module__ == "torch.return_types":
        return f"what torch.{type(result).__name__} gives"
    return f"a {type(result).__name__}, in which no tensor of scores is found"


def _tensors_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The tensors in a result, each with the keys, places or names that lead to it."""
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif is_dataclass(value) or hasattr(value, "_fields"):
        named_tuple = getattr(value, "_fields", None)
        names = named_tuple or [one.name for one in fields(value)]
        parts = [(name, getattr(value, name)) for name in names]
    elif isinstance(value, tuple | list):
        parts = enumerate(value)
    for key, part in parts:
        yield from _tensors_in(part, (*path, key))
