"""The check-up of a network that nobody here has seen before.

A student's module and a student's weights go through `examined` once. Nothing is answered wrongly
in silence: what is wrong is refused in words, and what could be put right is noted.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from labsupport.core.errors import CannotRecord, CannotTrace
from labsupport.core.network import copies, endings, graphs, rewrites, tracing
from labsupport.core.network.opaque import opaque
from labsupport.core.network.operations import Pair
from labsupport.core.network.students_lines import line_of
from labsupport.core.network.tracing import BATCH, MIXES, Origin, Traced

_NEAR = 1e-4  # of the largest score: rounding, where the same sums are added in another order
_NOTHING = 1e-6  # what rounding leaves of a score or a gradient that is 0
# Of the gradient's length: where rounding opens or shuts a ReLU, some pixels' gradients jump.
_NEAR_GRADIENT = 0.02
_SMALL = 64  # pixels: larger images are checked in a smaller size, which takes less time
_COUNT = BATCH + 1  # images that are compared: the graph must follow another number of them

_NO_GRADIENT = "no gradient leads from its scores to the image"

Answers = Callable[[torch.Tensor], torch.Tensor]


def opened(
    module: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: Pair,
    *,
    check: bool = True,
    classes: int = 0,
) -> Traced:
    """A student's module, recorded and looked at; as an opaque network where it cannot be recorded.

    The number of `classes`, where it is known, tells which of several tensors are the scores.

    Errors: `CannotTrace` says what is wrong.
    """
    origin = tracing.origin_of(module, mean, std, classes=classes)
    try:
        traced = tracing.traced(origin, size)
        if check:
            return examined(traced, size)
    except CannotRecord as error:
        traced = opaque(origin, size, str(error))
        return examined(traced, size) if check else traced
    return replace(traced, notes=(*traced.notes, "not compared with the module (check=False)"))


def examined(traced: Traced, size: Pair) -> Traced:
    """The same, held against the module itself: the scores of images at two sizes, and the scores
    and gradients of several and of one alone. What was put right stands in its notes.

    Errors: `CannotTrace` says what is wrong.
    """
    origin = traced.origin
    if origin is None or origin.answer is None:
        return traced
    answer = origin.answer  # to images of this size; it is another after every recording
    _check_numbers(answer, origin.title)
    with copies.undisturbed():
        if not traced.opaque and not origin.ending.squashed and endings.are_probabilities(answer):
            origin.probabilities = True
            graph = origin.recorded(size)
            traced = replace(traced, graph=graph, notes=(*traced.notes, *origin.ending.notes()))
        own = _own_answers(origin, size)
        told = own.notes
        if not traced.opaque:
            _check_same_scores(answer, _recorded(traced, size), origin.example(size), origin.title)
            if not _follows_count(_recorded(traced, own.size), own):
                origin.counting = True
                traced = replace(traced, graph=origin.recorded(size))
                told = told if origin.counting else (*_first_call(origin), *told)
            _compare(_recorded(traced, own.size), own, origin.title)
    return replace(traced, notes=(*traced.notes, *told))


@dataclass(frozen=True)
class _Own:
    """What a module says of some images of a size, of all and of the first alone; its gradient,
    None where it has none, and what is to be noted of that."""

    size: Pair
    images: torch.Tensor
    all: torch.Tensor
    alone: torch.Tensor
    gradient: torch.Tensor | None
    notes: tuple[str, ...]


def _own_answers(origin: Origin, size: Pair) -> _Own:
    """Ask the module itself, at another size than its own if it can be.

    Errors: `CannotTrace` where it gives two answers to the same images.
    """
    kept = copies.kept(origin.module)
    with torch.no_grad():
        images, answer = _at_another_size(origin, size)
        alone = _alone(origin, images)
        beside = origin(torch.cat([images[:1], images[1:] / 4]))[:1]  # other ones than before
        origin(1 - images)  # what it keeps of them must not be seen in its next answer
    gradient, told = None, []
    try:
        again, gradient = _gradient(origin, images)
        told = [] if gradient.any() else [_NO_GRADIENT]
    except RuntimeError as error:  # for one, where work in place has overwritten what it needs
        told = [f"PyTorch has no gradient of it as it is written ({str(error)[:60]} ...)"]
        with torch.no_grad():
            again = origin(images)
    _check_repeats(answer, again, origin, kept)
    at = (images.shape[2], images.shape[3])
    alone = answer[:1] if alone is None else alone
    if not (_near(alone, answer[:1]) and _near(alone, beside)):
        told.insert(0, MIXES)
    return _Own(at, images, answer, alone, gradient, tuple(told))


def _follows_count(answers: Answers, own: _Own) -> bool:
    """Whether a graph gives the module's scores for other numbers of images than the recorded."""
    given = ((own.images, own.all), (own.images[:1], own.alone))
    return all(_same_scores(scores, answers, images) for images, scores in given)


def _first_call(origin: Origin) -> list[str]:
    """What is to be noted of a module that goes another way once it has been called."""
    kept = copies.changed(origin.module, origin.kept)
    told = (
        f"its forward has set {kept} at its first call, which saw chance colours here: call your "
        "module once with your own images before you wrap it"
    )
    return [told] if kept else []


def _compare(answers: Answers, own: _Own, title: str) -> None:
    """Hold a graph's answers against the module's own."""
    _check_same_scores(own.all, answers, own.images, title)
    _check_same_scores(own.alone, answers, own.images[:1], title)
    if own.gradient is not None:
        for count in (_COUNT,) if MIXES in own.notes else (_COUNT, 1):
            found = _gradient(answers, own.images[:count])[1]
            _check_same_gradient(own.gradient[:count], found, title)


def _recorded(traced: Traced, size: Pair) -> Answers:
    """What the module would say, by its graph as the methods call it."""
    graph, ending = traced.at(size).graph, traced.origin.ending  # type: ignore[union-attr]
    output = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    part = rewrites.optimized(graphs.subgraph(graph, (output,)))

    def answers(images: torch.Tensor) -> torch.Tensor:
        # `forward`, for calling the part would print where in its code it has failed
        (scores,) = part.forward(images.to(memory_format=torch.channels_last))
        result: torch.Tensor = ending.own_answer(scores)
        return result

    return answers


def _at_another_size(origin: Origin, size: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a size of which the module takes them, another one if it can be and no square; and
    what it says of them."""
    height, width = size
    sizes = [(height * 2 // 7, width // 3), (height * 3 // 7, width * 2 // 5), size]
    if max(size) <= _SMALL:
        sizes = [(height * 7 // 5, width * 9 // 7), size]
    for other in sizes:
        images = origin.example(other, seed=1, count=_COUNT)
        try:
            return images, origin(images)
        except Exception as error:  # each network has its own way to say that a size does not fit
            if other == size:
                raise CannotTrace(
                    f"{origin.title} takes {BATCH} images, but not {_COUNT}: {error} "
                    f"{line_of(error)}. Let its forward work for any number of images: x.size(0)"
                ) from error
    raise AssertionError("its own size is the last one")


def _alone(origin: Origin, images: torch.Tensor) -> torch.Tensor | None:
    """What the module says of the first image alone; None where it takes no single one."""
    with contextlib.suppress(Exception):  # `x.squeeze()` takes the batch away as well
        answer = origin(images[:1])
        return answer if len(answer) == 1 else None
    return None


def _gradient(answers: Answers, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, and the gradient of a sum of them at the images."""
    images = images.clone().requires_grad_(True)
    with torch.enable_grad():
        scores = answers(images)
        if not scores.requires_grad:
            return scores, torch.zeros_like(images)
        weights = torch.linspace(-1, 1, _COUNT * scores.shape[1] + 1, device=scores.device)[1:]
        wanted = (scores * weights.view(_COUNT, -1)[: len(scores)]).sum()
        (gradient,) = torch.autograd.grad(wanted, images, allow_unused=True)
    return scores.detach(), torch.zeros_like(images) if gradient is None else gradient


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    close = _NEAR * float(one.abs().max()) + _NOTHING
    return one.shape == other.shape and torch.allclose(one, other, _NEAR, close, equal_nan=True)


def _check_numbers(answer: torch.Tensor, title: str) -> None:
    if not answer.numel():
        raise CannotTrace(f"{title} gives no scores at all: it needs one class at least")
    if not answer.isfinite().all():
        raise CannotTrace(
            f"{title} gives scores that are no numbers (NaN or infinite) for a picture of chance "
            "colours: its weights are damaged, or its training has run away (a smaller learning "
            "rate helps); load good weights and wrap it again"
        )


def _check_repeats(
    one: torch.Tensor, other: torch.Tensor, origin: Origin, kept: copies.Kept
) -> None:
    """`kept` is what the module kept before the first of its two answers to the same images."""
    if _near(one, other):
        return
    changed = copies.changed(origin.module, kept)
    why = "draws random numbers (noise; F.dropout(x) without training=self.training)"
    if changed:
        why = f"changes {changed} from one call to the next, and its answer depends on that"
    raise CannotTrace(
        f"{origin.title} gives two answers to the same picture: its forward {why}. Let it do that "
        "in training alone: if self.training"
    )


def _same_scores(own: torch.Tensor, answers: Answers, images: torch.Tensor) -> bool:
    with contextlib.suppress(Exception), torch.no_grad():  # a graph of two images may fail for one
        return _near(own, answers(images))
    return False


def _check_same_scores(
    own: torch.Tensor, answers: Answers, images: torch.Tensor, title: str
) -> None:
    if _same_scores(own, answers, images):
        return
    raise CannotRecord(
        f"{title} cannot be recorded: its graph gives other scores than {title} itself. Its "
        "forward takes something on a way that is not seen (NumPy, a scripted function), or works "
        "in place on a tensor that it reads again under another name (write x = x + ..., "
        "inplace=False)"
    )


def _check_same_gradient(own: torch.Tensor, gradient: torch.Tensor, title: str) -> None:
    off = float((gradient - own).norm())
    length = float(own.norm())
    if own.isfinite().all() and not off <= _NEAR_GRADIENT * length + _NOTHING:
        raise CannotRecord(
            f"{title} cannot be recorded: its graph gives another gradient than {title} itself, "
            f"{100 * off / max(length, _NOTHING):.0f} % of its length off: something in its "
            "forward has a backward pass of its own that is not seen"
        )
