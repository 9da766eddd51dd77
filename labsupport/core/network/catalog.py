"""Networks by name, where their weights come from, and students' own modules as networks."""

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import nn

from labsupport.core import bundled
from labsupport.core.errors import BadSetting, LabError, UnknownNetwork, WeightsUnavailable, nearest
from labsupport.core.images import crops
from labsupport.core.network import checkup, copies, tracing
from labsupport.core.network.architectures import convnetjs, lenet
from labsupport.core.network.network import Network
from labsupport.core.network.operations import Pair

State = dict[str, torch.Tensor]
Three = tuple[float, float, float]

IMAGENET_MEAN: Three = (0.485, 0.456, 0.406)
IMAGENET_STD: Three = (0.229, 0.224, 0.225)
PLAIN: tuple[Three, Three] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # changes nothing
_OURS = ("auto", "bundled", "torchvision", "random")  # weights that need no check-up
_SEED = 0  # of the weights that "random" gives
_PATIENCE = 3.0  # seconds to wait for a download server before saying that there is none


@dataclass(frozen=True)
class Recipe:
    """How to make one network: its module, what it expects of an image, what it can say."""

    name: str
    build: Callable[[], nn.Module]
    categories: Callable[[], tuple[str, ...]]
    input_size: tuple[int, int] = (224, 224)
    mean: Three = IMAGENET_MEAN
    std: Three = IMAGENET_STD
    bundled: str | None = None  # the file under data/
    published: Any = None  # torchvision's weights entry


COURSE = (
    "squeezenet1_1",
    "lenet5",
    "convnetjs",
    "alexnet",
    "vgg16",
    "vgg19",
    "googlenet",
    "resnet18",
    "resnet50",
    "densenet121",
    "inception_v3",
)


# built with the course, beside torchvision's
_OWN = {
    "lenet5": Recipe(
        "lenet5",
        lenet.LeNet5,
        lambda: lenet.CATEGORIES,
        lenet.INPUT_SIZE,
        *PLAIN,
        bundled="weights/lenet5.safetensors",
    ),
    "convnetjs": Recipe(
        "convnetjs",
        convnetjs.ConvNetJS,
        lambda: crops.CATEGORIES,
        convnetjs.INPUT_SIZE,
        convnetjs.MEAN,
        convnetjs.STD,
        bundled="weights/convnetjs.safetensors",
    ),
}


def recipe(name: str, *, also: Iterable[str] = ()) -> Recipe:
    """The recipe of a network, by the name that torchvision uses.

    Errors: `UnknownNetwork` with the nearest names, among them those that the caller knows `also`.
    """
    if name in _OWN:
        return _OWN[name]
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = nearest(name, [*also, *COURSE, *known])
        raise UnknownNetwork(
            f"no network is called {name!r}; the nearest names are {', '.join(close)} "
            "(networks.names() lists those of the course)"
        )
    return _torchvision(name)


def _torchvision(name: str) -> Recipe:
    published = torchvision.models.get_model_weights(name).DEFAULT
    transforms = published.transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    size = transforms.crop_size[0]
    settings: dict[str, Any] = {}
    if name.startswith("vit_"):  # these learn a vector for each place, and take one size alone
        settings = {"image_size": size}
    if name in {"googlenet", "inception_v3"}:
        # These two shift images from torchvision's normalization to (x - 0.5) / 0.5 in their
        # forward pass; here the normalization before them does it.
        settings = {"transform_input": False, "init_weights": False, "aux_logits": True}
        mean = std = (0.5, 0.5, 0.5)
    return Recipe(
        name,
        lambda: torchvision.models.get_model(name, weights=None, **settings),
        lambda: tuple(published.meta["categories"]),
        (size, size),
        mean,
        std,
        bundled="weights/squeezenet1_1.safetensors" if name == "squeezenet1_1" else None,
        published=published,
    )


def state(recipe: Recipe, weights: str | os.PathLike[str]) -> tuple[State | None, str]:
    """The weights that were asked for, and where they came from in words.

    None stands for the module's own random weights.

    Errors: `WeightsUnavailable`, `DamagedData`, `BadSetting`.
    """
    if weights == "random":
        return None, f"random weights (seed {_SEED})"
    if weights == "auto":
        weights = "bundled" if recipe.bundled else "torchvision"
    if weights == "bundled":
        if recipe.bundled is None:
            raise WeightsUnavailable(
                f"no weights for {recipe.name} are bundled. {_way_out(recipe)}"
            )
        return _read(bundled.path(recipe.bundled)), f"bundled ({recipe.bundled})"
    if weights == "torchvision":
        return _published(recipe), f"torchvision ({recipe.published})"
    return _own_file(recipe, weights)


def build(recipe: Recipe, weights: State | None, source: str) -> nn.Module:
    """The module with these weights; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        module = recipe.build()
    if weights is not None:
        try:
            module.load_state_dict({name: value.float() for name, value in weights.items()})
        except RuntimeError as error:
            reasons = _misfits(module.state_dict(), weights) or [str(error)[:300]]
            raise WeightsUnavailable(
                f"the weights from {source} do not fit {recipe.name}: {'; '.join(reasons)}"
            ) from None
    return module


def _misfits(own: State, given: State) -> list[str]:
    """What is wrong with a state dict, the first example of each kind."""
    missing = [name for name in own if name not in given]
    extra = [name for name in given if name not in own]
    shapes = [name for name in own if name in given and own[name].shape != given[name].shape]
    reasons = [f"{len(missing)} names are missing, such as {missing[0]}"] if missing else []
    if extra:
        reasons.append(f"{len(extra)} names are unknown, such as {extra[0]}")
    if shapes:
        first = shapes[0]
        shape, wanted = tuple(given[first].shape), tuple(own[first].shape)
        reasons.append(f"{len(shapes)} have another shape: {first} is {shape}, not {wanted}")
    return reasons


def _read(path: Path) -> State:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise TypeError(f"it holds a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"its {name!r} is a {type(value).__name__} and no tensor")
    return state


def _own_file(recipe: Recipe, weights: str | os.PathLike[str]) -> tuple[State, str]:
    path = Path(weights).expanduser()
    if not path.is_file():
        choices = '"auto", "bundled", "torchvision", "random"'
        raise BadSetting(f"weights={os.fspath(weights)!r} is neither one of {choices} nor a file")
    try:
        return _read(path), f"file ({path.name})"
    except LabError:
        raise
    except Exception as error:  # every unreadable file ends as one sentence
        raise WeightsUnavailable(
            f"{path} cannot be read as a state dict of {recipe.name} ({error}); save one with "
            "torch.save(module.state_dict(), path) or as safetensors. Whole pickled modules are "
            "not opened: they can run any code"
        ) from None


def cached(recipe: Recipe) -> Path:
    """Where torchvision keeps a downloaded file of this network, there or not."""
    name = Path(urllib.parse.urlparse(recipe.published.url).path).name
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _published(recipe: Recipe) -> State:
    if recipe.published is None:
        raise WeightsUnavailable(
            f"torchvision has no weights for {recipe.name}. {_way_out(recipe)}"
        )
    path = cached(recipe)
    if not path.is_file():
        _download(recipe, path)
    try:
        return _read(path)
    except Exception as error:
        raise WeightsUnavailable(
            f"the cached file {path} is damaged ({error}); delete it and load {recipe.name} again"
        ) from None


def _download(recipe: Recipe, path: Path) -> None:
    url = recipe.published.url
    try:
        _reach(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = path.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(path), digest, progress=True)
    except (OSError, RuntimeError) as error:
        why = "there is no connection" if isinstance(error, socket.gaierror) else error
        raise WeightsUnavailable(
            f"the weights of {recipe.name} are not on this computer and could not be downloaded "
            f"({why}). {_way_out(recipe)}"
        ) from None


def _reach(url: str) -> None:
    """Fail within seconds where there is no network; with a proxy only the download can tell."""
    if not urllib.request.getproxies().get("https"):
        socket.create_connection((urllib.parse.urlparse(url).hostname, 443), _PATIENCE).close()


def _way_out(recipe: Recipe) -> str:
    offline = f"These work offline: {', '.join(offline_names())}."
    if recipe.published is None:
        return offline
    return (
        f"{offline} Or put the file {cached(recipe).name}, downloaded elsewhere, into "
        f"{cached(recipe).parent}, or load it with weights='its path'; weights='random' needs no "
        "file."
    )


def offline_names() -> list[str]:
    """The course's networks that need no download: bundled, or in torchvision's cache."""
    recipes = [recipe(name) for name in COURSE]
    return [r.name for r in recipes if r.bundled or (r.published and cached(r).is_file())]


# Loading


def names() -> tuple[str, ...]:
    """The course's networks, the bundled ones first. `load` takes torchvision's others as well."""
    return COURSE


def load(
    name: str = "squeezenet1_1",
    *,
    weights: str | os.PathLike[str] = "auto",
    device: str | torch.device | None = None,
) -> Network:
    """A trained classifier by name.

    `weights`: "auto" (bundled, else torchvision's from its cache or a download), "bundled",
    "torchvision", "random" (the same ones every time), or the path of a state dict. Nothing is
    unpickled.

    Errors: `UnknownNetwork`, `WeightsUnavailable`, `DamagedData`, `BadSetting`.

    >>> network = load()
    >>> network.source
    'bundled (weights/squeezenet1_1.safetensors)'
    """
    made = recipe(name)
    given, source = state(made, weights)
    return network_of(
        made, build(made, given, source), source, check=weights not in _OURS, device=device
    )


def network_of(
    recipe: Recipe,
    module: nn.Module,
    source: str,
    *,
    check: bool = False,
    device: str | torch.device | None = None,
) -> Network:
    """A recipe's module, made of layers of `torch.nn` alone, as a network.

    With `check` it is computed and looked at: its weights are a student's.
    """
    size = recipe.input_size
    traced = tracing.trace(module, recipe.mean, recipe.std, size, computing=check)
    return Network(
        checkup.examined(traced, size) if check else traced,
        name=recipe.name,
        architecture=type(module).__name__,
        source=source,
        categories=recipe.categories(),
        input_size=size,
        device=device,
    )


def wrap(
    module: nn.Module,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    categories: Sequence[str] | None = None,
    input_size: int | Pair = 224,
    name: str | None = None,
    device: str | torch.device | None = None,
    check: bool = True,
) -> Network:
    """A student's own classifier as a `Network`.

    The module takes images (N, 3, H, W), normalized by `mean` and `std`, and gives scores
    (N, classes), or a tuple or dictionary with the scores in it. Where `mean` and `std` are one
    number each it takes grey images (N, 1, H, W). It is copied; the module itself is never changed.
    With `check` its scores and gradients are compared with the module's own; what was put right
    stands in `network.notes`.

    Errors: `CannotTrace` says why the forward pass cannot be followed, `BadSetting` what does not
    fit together.

    >>> tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    >>> network = wrap(tiny, categories=["cat", "dog"], input_size=8)
    >>> network(torch.rand(5, 3, 8, 8)).shape
    torch.Size([5, 2])
    """
    if not len(mean) == len(std) or len(mean) not in (1, 3) or min(std) <= 0:
        raise BadSetting(
            "mean and std are three numbers each (red, green, blue), or one each for a network of "
            "grey images; std is above 0"
        )
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    traced = tracing.trace(module, tuple(mean), tuple(std), size)
    if check:
        traced = checkup.examined(traced, size)
    else:
        traced = replace(
            traced, notes=(*traced.notes, "not compared with the module (check=False)")
        )
    kind = type(copies.unwrapped(module)).__name__
    return Network(
        traced,
        name=name or kind,
        architecture=kind,
        source="your own module",
        categories=categories,
        input_size=size,
        device=device,
    )
