"""Feature visualization: change an image step by step so that an objective rises."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.frames import Shortcut, framed
from labsupport.core.images import checked_size
from labsupport.core.network import Box, Network, Pair, Target, TargetLike, receptive_box
from labsupport.methods.optimize.loop import CLEAR, STARTS, Frame, Problem, Recipe, State, optimize
from labsupport.methods.optimize.objectives import Objective, TargetValue, nodes_of

_ROUNDING = 1e-4  # of a layer's largest activation: sums in another order


@framed
def visualize(
    network: Network,
    objective: Objective | TargetLike | list[TargetLike],
    *,
    recipe: Recipe = CLEAR,
    start: str | Tensor | Frame | None = None,
    size: int | Pair | None = None,
    steps: int | None = None,
    seed: int | Sequence[int] = 0,
    every: int = 1,
) -> Iterator[Frame]:
    """Change an image step by step so that an objective rises: the last frame. `.frames` gives
    one before the first step, then each `every` steps, and the last.

    `objective` is a target (a class, (layer, channel) or (layer, channel, (row, column))), a list
    of them, one for each image of a batch, or any `Objective`. `start` and `steps` go before the
    recipe's. `start` may be images (N, 3, H, W), or a frame: then the run goes on exactly as it
    would have, for `steps` in all. `size` (height, width) is the network's own by default. A list
    of seeds has a start for each image; transforms are common to the batch.
    For a single neuron only the part of the image that it sees is computed.

    Errors: `UnknownClass`, `UnknownLayer`, `BadImage`, `BadSetting` at once; `BadSetting` for a
    value that is no number any more, when it happens.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> bright = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> network = networks.wrap(bright, categories=["dark", "bright"], input_size=16)
    >>> last = visualize(network, "bright", steps=5)
    >>> last.image.shape, last.progress
    (torch.Size([1, 3, 16, 16]), 1.0)
    """
    steps = recipe.steps if steps is None else steps
    if steps < 0 or every < 1:
        raise BadSetting(f"steps is 0 or more and every 1 or more, not {steps} and {every}")
    seeds = (seed,) if isinstance(seed, int) else tuple(seed)
    if not seeds:
        raise BadSetting("an empty list has no seed: give one for each image")
    whole = objective if isinstance(objective, Objective) else TargetValue(objective)
    wanted = _Wanted(recipe, recipe.start if start is None else start, size, steps, seeds)
    problem, state = _prepare(network, whole, wanted)
    due = [*range(state.step + -state.step % every, steps, every), steps]
    return Shortcut(optimize(problem, state, due), lambda: next(optimize(problem, state, [steps])))


@dataclass(frozen=True)
class _Wanted:
    """The arguments of `visualize`, in one piece."""

    recipe: Recipe
    start: str | Tensor | Frame
    size: int | Pair | None
    steps: int
    seeds: tuple[int, ...]


def _prepare(network: Network, objective: Objective, wanted: _Wanted) -> tuple[Problem, State]:
    bound = whole = objective.bound(network)
    wanted.recipe.check()
    size = _size(network, wanted)
    network.shapes(size, nodes_of(network, whole.layers))  # refuses, in words, what does not fit
    count, box, around, seen = _count(whole, wanted), None, None, size
    cut = _cut(network, whole, size)
    if cut is not None:
        box, bound = cut
        around = _start_image(network, wanted.start, size)
        seen = (box[3] - box[1], box[2] - box[0])
    mean = torch.tensor(network.mean, device=network.device).view(1, 3, 1, 1)
    settings = _settings(network, whole, wanted, size)
    recipe, steps = wanted.recipe, wanted.steps
    problem = Problem(network, bound, recipe, steps, seen, around, box, mean, settings)
    return problem, _first_state(problem, wanted, count)


def _size(network: Network, wanted: _Wanted) -> Pair:
    start, size = wanted.start, wanted.size
    asked = (size, size) if isinstance(size, int) else size
    if asked is not None:
        checked_size(asked)
    if isinstance(start, str):
        one_of(start, STARTS, "start", " Images (N, 3, H, W) do as well")
        return asked or network.input_size
    image = start.image if isinstance(start, Frame) else start
    images.check(image)
    own = (image.shape[2], image.shape[3])
    if asked not in (None, own):
        raise BadSetting(f"the start is {own}, not {asked}: leave size out, or resize the start")
    return own


def _count(objective: Objective, wanted: _Wanted) -> int:
    image = wanted.start.image if isinstance(wanted.start, Frame) else wanted.start
    counts = {
        "targets": objective.count or 1,
        "seeds": len(wanted.seeds),
        "start images": len(image) if isinstance(image, Tensor) else 1,
    }
    several = {name: count for name, count in counts.items() if count > 1}
    if len(set(several.values())) > 1:
        words = ", ".join(f"{count} {name}" for name, count in several.items())
        raise BadSetting(f"{words} do not fit together: one for each image, or one for all")
    return max(counts.values())


def _cut(network: Network, target: Objective, size: Pair) -> tuple[Box, TargetValue] | None:
    """What a neuron sees of its picture, if its layer says there what it says of the whole one.

    Where maps are enlarged, or a layer looks at its places or at the picture's size, it may not.
    """
    if not isinstance(target, TargetValue) or target.place is None:
        return None
    layer, position = target.place

    def alike() -> bool:
        (left, top, right, bottom), moved = _window(network, target, size)
        image = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
        up_to = network.up_to(layer)
        with torch.no_grad():
            maps, part = up_to(image)[0], up_to(image[:, :, top:bottom, left:right])[0]
        one, other = maps[(..., *position)], part[(..., *moved.place[1])]  # type: ignore[index]
        return bool((one - other).abs().amax() <= _ROUNDING * maps.abs().amax())

    try:
        same = network.remember(("alike in a cut", layer, position, size), alike, keep=64)
    except (RuntimeError, IndexError, ValueError):  # the cut is too small for the network
        same = False
    return _window(network, target, size) if same else None


def _window(network: Network, target: TargetValue, size: Pair) -> tuple[Box, TargetValue]:
    """What a neuron sees, cut so that each layer's positions fall where they fell before; and the
    neuron's position in the cut."""
    layer, position = target.place  # type: ignore[misc]
    left, top, right, bottom = receptive_box(network, layer, position, size, clip=False)
    strides = network.stride(network.node(layer))
    first, place = [], []
    for low, step, index in zip((top, left), strides, position, strict=True):
        # Moved by whole strides of this layer, so by whole strides of every layer before it.
        moved = max(0, min(index, low // step))
        first.append(moved * step)
        place.append(index - moved)
    box = (first[1], first[0], min(right, size[1]), min(bottom, size[0]))
    return box, target.moved((place[0], place[1]))


def _start_image(network: Network, start: str | Tensor | Frame, size: Pair) -> Tensor:
    """The image (N, 3, H, W) that a run starts from, on the CPU; noise is about a mean colour."""
    if isinstance(start, Frame):
        return start.image
    if isinstance(start, Tensor):
        return start.detach().float().cpu()
    colour = {"grey": (0.5, 0.5, 0.5), "black": (0.0, 0.0, 0.0)}.get(start, network.mean)
    return torch.tensor(colour).view(1, 3, 1, 1).repeat(1, 1, *size)


def _first_state(problem: Problem, wanted: _Wanted, count: int) -> State:
    if isinstance(wanted.start, Frame):
        return _continued(problem, wanted.start, count)
    random = torch.Generator().manual_seed(wanted.seeds[0]).get_state()
    parameterization, size = problem.recipe.parameterization, problem.whole_size
    if wanted.start == "noise":
        seeded = [torch.Generator().manual_seed(seed) for seed in wanted.seeds]
        begun = torch.cat([parameterization.noise(size, one) for one in seeded])
    else:
        whole = _start_image(problem.network, wanted.start, problem.size)
        whole = _with_margin(problem, whole).to(problem.network.device)
        begun = parameterization.parameters(whole)
    begun = begun.to(problem.network.device)
    if len(begun) != count:
        begun = begun.expand(count, *begun.shape[1:]).clone(memory_format=torch.preserve_format)
    attention = begun.new_zeros(count, 1, *problem.whole_size)
    return State(begun, (), 0, random, attention, type(problem.recipe.optimizer))


def _with_margin(problem: Problem, whole: Tensor) -> Tensor:
    """The part that is optimized, its border repeated into the margin."""
    if problem.box is not None and whole.shape[2:] != problem.size:
        left, top, right, bottom = problem.box
        whole = whole[:, :, top:bottom, left:right]
    first, last = problem.margin // 2, problem.margin - problem.margin // 2
    return torch.nn.functional.pad(whole, (first, last, first, last), mode="replicate")


def _continued(problem: Problem, frame: Frame, count: int) -> State:
    state = frame.state
    like = problem.recipe.parameterization.noise(problem.whole_size, torch.Generator())
    fits = state.parameters.shape == (count, *like.shape[1:])
    same_optimizer = state.optimizer is type(problem.recipe.optimizer)
    if not fits or not same_optimizer or state.step > problem.steps:
        raise BadSetting(
            f"this frame is step {state.step} of a run for {len(state.parameters)} images; going "
            f"on needs as many targets, the same parameterization, transforms and optimizer, and "
            f"steps={state.step} or more (it counts from the beginning). start=frame.image begins "
            "anew"
        )
    return state


# Settings in words


def _settings(
    network: Network, objective: Objective, wanted: _Wanted, size: Pair
) -> dict[str, Any]:
    start = wanted.start
    if isinstance(start, Frame):
        start = f"step {start.step} of another run"
    return {
        "network": network.name,
        "weights": network.source,
        "objective": _plain(objective),
        "recipe": _plain(wanted.recipe),
        "start": start if isinstance(start, str) else "an image",
        "size": list(size),
        "steps": wanted.steps,
        "seed": list(wanted.seeds),
    }


def _plain(value: Any) -> Any:
    """A value as JSON knows it: a dataclass by its name and fields, a tensor by its shape."""
    if isinstance(value, Target):
        return value.title
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if dataclasses.is_dataclass(value):
        fields = {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
