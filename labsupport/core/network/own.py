"""Students' own modules as networks, once or under a name for all labs."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labsupport.core.errors import BadSetting
from labsupport.core.network import checkpoints, checkup, copies
from labsupport.core.network.network import Network
from labsupport.core.network.operations import IMAGENET_MEAN, IMAGENET_STD, Pair

Numbers = float | Sequence[float] | torch.Tensor
Names = Sequence[str | int] | Mapping[int, str] | Mapping[str, int]

_FROM_FILE = "_workbook_weights"  # of a module: where its weights came from, and notes

_registered: dict[str, tuple[Network, Any]] = {}


def wrap(
    module: nn.Module,
    *,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
    categories: Names | None = None,
    input_size: int | Sequence[int] = 224,
    name: str | None = None,
    device: str | torch.device | None = None,
    check: bool = True,
) -> Network:
    """A student's own classifier as a `Network`.

    The module takes images (N, 3, H, W), normalized by `mean` and `std`, and gives scores
    (N, classes), or a tuple or dictionary with the scores in it. `mean` and `std` are three numbers
    each, or one for all colours; in a list of one, (0.1307,), it means a network of grey images
    (N, 1, H, W). `categories` are the classes' names, in their order or by their numbers;
    of a network with one output, the one that it is about. The module is copied and never changed;
    weights of a file are put `into` it before. With `check` its scores and gradients are compared
    with the module's own; what was put right stands in `network.notes`.

    Errors: `CannotTrace` says why the forward pass cannot be followed, `BadSetting` what does not
    fit together.

    >>> tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    >>> network = wrap(tiny, categories=["cat", "dog"], input_size=8)
    >>> network(torch.rand(5, 3, 8, 8)).shape
    torch.Size([5, 2])
    """
    _check_module(module)
    means, stds = _normalization(mean, std)
    size = _size(input_size)
    source, notes = getattr(module, _FROM_FILE, ("your own module", ()))
    names = names_of(categories)
    classes = len(names or ())
    traced = checkup.opened(module, means, stds, size, check=check, classes=classes)
    kind = type(copies.unwrapped(module)).__name__
    if names is not None and len(names) == 1 and traced.origin and traced.origin.ending.one_logit:
        names = (f"not {names[0]}", *names)
    return Network(
        replace(traced, notes=(*notes, *traced.notes)),
        name=name or kind,
        architecture=kind,
        source=source,
        categories=names,
        input_size=size,
        device=device,
    )


def register(
    name: str,
    module: nn.Module | Network | Callable[[], nn.Module],
    *,
    weights: str | os.PathLike[str] | None = None,
    examples: Any = None,
    **settings: Any,
) -> Network:
    """Give a network of your own a name: it stands in the network menu of every panel that is made
    from now on, and `load(name)` gives it.

    `module` is the module, what builds it, or a `Network` that you have wrapped already; `weights`
    is a file that the module takes. `examples` are
    pictures that it knows, as `images.folder(...)` gives them or as images (N, 3, H, W): labs show
    them beside the bundled ones. The other settings are those of `wrap`. A name that is registered
    again means the new one.

    Errors: those of `wrap` and `into`; `BadSetting` for a name that is none.
    """
    if not isinstance(name, str) or not name.strip():
        raise BadSetting(f"a network's name is a text such as 'mine', not {name!r}")
    if examples is not None and not hasattr(examples, "__getitem__"):
        raise BadSetting(
            "examples are images: images.folder(path), a list of them or a tensor (N, 3, H, W), "
            f"not a {type(examples).__name__}"
        )
    network = module if isinstance(module, Network) else _made(module, name, weights, settings)
    _registered[name] = (network, examples)
    return network


def _made(
    module: Any, name: str, weights: str | os.PathLike[str] | None, settings: dict[str, Any]
) -> Network:
    given = module() if callable(module) and not isinstance(module, nn.Module) else module
    return wrap(given if weights is None else into(given, weights), name=name, **settings)


def registered() -> dict[str, Network]:
    """The networks of one's own, by name, the newest first."""
    return {name: network for name, (network, _) in reversed(_registered.items())}


def examples_of(network: Network) -> Any:
    """The examples that a network was registered with; None where there are none."""
    same = (one for known, one in _registered.values() if known is network)
    return next(same, _registered.get(network.name, (None, None))[1])


def into(module: nn.Module, weights: str | os.PathLike[str]) -> nn.Module:
    """A copy of a module with the weights of a file: a state dict, alone or in a checkpoint, as
    people save them. Nothing is unpickled.

    Errors: `BadSetting`; `WeightsUnavailable` says what is wrong with the file.
    """
    _check_module(module)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise BadSetting(f"weights={os.fspath(weights)!r} is no file")
    own = copies.own_copy(copies.unwrapped(module))
    fitted = checkpoints.fitted(checkpoints.read(path), own.state_dict(), path)
    checkpoints.put_into(own, fitted, type(own).__name__, path.name)
    setattr(own, _FROM_FILE, (f"file ({path.name})", fitted.notes))
    return own


# What may be given


def _check_module(module: object) -> None:
    if isinstance(module, nn.Module):
        return
    kind = type(module).__name__
    if isinstance(module, Network):
        ways = "this is a Network already: use it as it is"
    elif isinstance(module, type):
        ways = f"{module.__name__} is a class: give an object of it, {module.__name__}()"
    elif isinstance(module, Mapping):
        ways = (
            "this is a state dict, weights without their network: build the module and let it take "
            "them with module.load_state_dict(weights), or name their file: networks.into(module, "
            "path)"
        )
    elif isinstance(module, str | os.PathLike):
        ways = (
            f"{os.fspath(module)!r} is a text: networks.load(name, weights=path) loads a file into "
            "a known architecture, networks.into(module, path) into your own"
        )
    elif callable(module):
        ways = (
            "this is a function: put it into the forward of a class that is an nn.Module, "
            "so that its weights are known"
        )
    else:
        ways = f"this is a {kind}"
    raise BadSetting(f"a network is made of an nn.Module; {ways}")


def _normalization(mean: Numbers, std: Numbers) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, stds = (_numbers(one) for one in (mean, std))
    if means is None or stds is None or len(means) != len(stds) or min(stds) <= 0:
        raise BadSetting(
            "mean and std are three numbers each (red, green, blue), or one each, (0.5,), for a "
            f"network of grey images; std is above 0. These are {mean!r} and {std!r}"
        )
    if max(map(abs, means)) > 2:
        raise BadSetting(
            f"mean={mean!r} is for pixels from 0 to 255; pictures here go from 0 to 1: divide mean "
            "and std by 255"
        )
    return means, stds


def _numbers(given: Numbers) -> tuple[float, ...] | None:
    """One number or three, a number alone meaning all three colours; None for anything else."""
    if isinstance(given, int | float):
        return (float(given),) * 3
    try:
        numbers = tuple(float(one) for one in given)
    except (TypeError, ValueError, RuntimeError):
        return None
    return numbers if len(numbers) in (1, 3) and all(abs(n) < 1e9 for n in numbers) else None


def _size(given: int | Sequence[int]) -> Pair:
    """(height, width), of one side, of two, or of those with the channels before or after."""
    sides = [given, given] if isinstance(given, int) else given
    if isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) in (2, 3):
        last = len(sides) == 3 and sides[2] in (1, 3) and sides[0] not in (1, 3)
        height, width = sides[:2] if last else sides[-2:]  # or (height, width, channels)
        if type(height) is type(width) is int and min(height, width) > 0:
            return height, width
    raise BadSetting(
        f"input_size is a side in pixels, 224, or (height, width), (32, 32), not {given!r}"
    )


def names_of(given: Names | None) -> tuple[str, ...] | None:
    """The classes' names in their order, of a list or of {0: "cat"} or of {"cat": 0}.

    Errors: `BadSetting`.
    """
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable) or not list(given):
        raise BadSetting(f"categories are the classes' names in a list, not {given!r}")
    if isinstance(given, Mapping):
        pairs = [(key, value) for key, value in given.items()]
        by_number = dict(pairs) if isinstance(pairs[0][0], int) else {n: name for name, n in pairs}
        if sorted(by_number, key=str) != sorted(range(len(pairs)), key=str):
            raise BadSetting(
                f"categories by number have the numbers 0 to {len(pairs) - 1}, each once; these "
                f"have {', '.join(map(str, list(by_number)[:5]))} ..."
            )
        return tuple(str(by_number[number]) for number in range(len(pairs)))
    return tuple(str(one) for one in given)
