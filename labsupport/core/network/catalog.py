"""Networks by name, where their weights come from, and students' own modules as networks."""

import contextlib
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import nn

from labsupport.core import bundled
from labsupport.core.errors import BadSetting, UnknownNetwork, WeightsUnavailable, nearest
from labsupport.core.images import crops
from labsupport.core.network import checkpoints, checkup, own, tracing
from labsupport.core.network.architectures import convnetjs, lenet
from labsupport.core.network.architectures.convolutions import Convolutions
from labsupport.core.network.checkpoints import Fitted, State
from labsupport.core.network.network import Network
from labsupport.core.network.operations import IMAGENET_MEAN, IMAGENET_STD
from labsupport.core.network.own import Names

Three = tuple[float, float, float]

PLAIN: tuple[Three, Three] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # changes nothing
_CONVOLUTIONS = ("alexnet", "vgg16")  # bundled up to their last pooling, without classes
_OURS = ("auto", "bundled", "torchvision", "random")  # weights that need no check-up
_SEED = 0  # of the weights that "random" gives
_PATIENCE = 3.0  # seconds to wait for a download server before saying that there is none


@dataclass(frozen=True)
class Recipe:
    """How to make one network: its module, what it expects of an image, what it can say."""

    name: str
    build: Callable[..., nn.Module]  # takes `num_classes`, where there may be others
    categories: Callable[[], tuple[str, ...]]
    input_size: tuple[int, int] = (224, 224)
    mean: Three = IMAGENET_MEAN
    std: Three = IMAGENET_STD
    bundled: str | None = None  # the file under data/
    published: Any = None  # torchvision's weights entry


_BUNDLED = {
    "squeezenet1_1": "weights/squeezenet1_1.safetensors",
    **{name: f"weights/{name}_features.safetensors" for name in _CONVOLUTIONS},
}
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


def _as_bundled(made: Recipe, weights: str | os.PathLike[str]) -> Recipe:
    """The recipe of what comes with the course, where that is not the whole network."""
    if made.name not in _CONVOLUTIONS or weights not in ("auto", "bundled"):
        return made
    return replace(made, build=partial(Convolutions, made.build), categories=tuple)


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
        lambda **more: torchvision.models.get_model(name, weights=None, **settings, **more),
        lambda: tuple(published.meta["categories"]),
        (size, size),
        mean,
        std,
        bundled=_BUNDLED.get(name),
        published=published,
    )


def state(recipe: Recipe, weights: str) -> tuple[State | None, str]:
    """The weights of one of our own kinds, and where they came from in words.

    None stands for the module's own random weights.

    Errors: `WeightsUnavailable`, `DamagedData`.
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
        return _tensors(bundled.path(recipe.bundled)), f"bundled ({recipe.bundled})"
    return _published(recipe), f"torchvision ({recipe.published})"


def build(recipe: Recipe, weights: State | None, source: str, **settings: int) -> nn.Module:
    """The module with these weights; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        module = recipe.build(**settings)
    if weights is not None:
        checkpoints.put_into(module, Fitted(weights), recipe.name, source)
    return module


@dataclass(frozen=True)
class Loaded:
    """A module with the weights that were asked for; `source` and `notes` tell of them in words."""

    module: nn.Module
    source: str
    notes: tuple[str, ...] = ()
    classes: int | None = None  # where they are not those of the architecture


def loaded(recipe: Recipe, weights: str | os.PathLike[str]) -> Loaded:
    """A network's module with the weights that were asked for, or those of a file.

    A file whose last layer is for another number of classes makes a module for so many.

    Errors: `WeightsUnavailable`, `DamagedData`, `BadSetting`.
    """
    if weights in _OURS:
        given, source = state(recipe, str(weights))
        return Loaded(build(recipe, given, source), source)
    path = Path(weights).expanduser()
    if not path.is_file():
        choices = ", ".join(map(repr, _OURS))
        raise BadSetting(f"weights={os.fspath(weights)!r} is neither one of {choices} nor a file")
    module, held = build(recipe, None, ""), checkpoints.read(path)
    own = module.state_dict()
    fitted = checkpoints.fitted(held, own, path)
    classes = checkpoints.classes_in(fitted.state, own)
    if classes is not None:
        with contextlib.suppress(TypeError):  # an architecture for just so many classes
            module = build(recipe, None, "", num_classes=classes)
    checkpoints.put_into(module, fitted, recipe.name, path.name)
    return Loaded(module, f"file ({path.name})", fitted.notes, classes)


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
        return _tensors(path)
    except Exception as error:
        raise WeightsUnavailable(
            f"the cached file {path} is damaged ({error}); delete it and load {recipe.name} again"
        ) from None


def _tensors(path: Path) -> State:
    """The state dict of a file that is no student's."""
    if path.suffix == ".safetensors":
        return _in_full(safetensors.torch.load_file(path))
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _in_full(held: State) -> State:
    """Kernels that are kept as whole numbers, times the scales (out,) that are kept with them."""
    scales = {name: held[f"{name}.scale"] for name in held if f"{name}.scale" in held}
    kernels = {name: held[name] * scale.view(-1, 1, 1, 1) for name, scale in scales.items()}
    return {name: one for name, one in (held | kernels).items() if not name.endswith(".scale")}


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
    """The networks that need no download: of one's own, bundled, or in torchvision's cache."""
    recipes = [recipe(name) for name in COURSE]
    mine = list(own.registered())
    return mine + [r.name for r in recipes if r.bundled or (r.published and cached(r).is_file())]


# Loading


def names() -> tuple[str, ...]:
    """Networks of one's own, and then the course's, the bundled ones first. `load` takes
    torchvision's others as well."""
    return (*own.registered(), *COURSE)


def load(
    name: str = "squeezenet1_1",
    *,
    weights: str | os.PathLike[str] = "auto",
    categories: Names | None = None,
    device: str | torch.device | None = None,
) -> Network:
    """A trained network by name.

    AlexNet and VGG-16 come with the course up to their last pooling: they have no classes, and what
    needs one raises `NoClasses`. With weights="torchvision" they are whole.

    `weights`: "auto" (bundled, else torchvision's from its cache or a download), "bundled",
    "torchvision", "random" (the same ones every time), or the path of a file: a state dict, alone
    or in a checkpoint, also for another number of classes, which `categories` names. Nothing is
    unpickled. A network of one's own that was registered is given as it is.

    Errors: `UnknownNetwork`, `WeightsUnavailable`, `DamagedData`, `BadSetting`.

    >>> network = load()
    >>> network.source
    'bundled (weights/squeezenet1_1.safetensors)'
    """
    mine = own.registered().get(name)
    if mine is not None:
        return mine if device is None else mine.copy(device=device)
    made = _as_bundled(recipe(name, also=own.registered()), weights)
    given = loaded(made, weights)
    usual = made.categories()
    if given.classes is not None:
        usual = tuple(f"class {number}" for number in range(given.classes))
    return network_of(
        made,
        given.module,
        given.source,
        check=weights not in _OURS,
        categories=own.names_of(categories) or usual,
        notes=given.notes,
        device=device,
    )


def network_of(
    recipe: Recipe,
    module: nn.Module,
    source: str,
    *,
    check: bool = False,
    categories: Sequence[str] | None = None,
    notes: tuple[str, ...] = (),
    device: str | torch.device | None = None,
) -> Network:
    """A recipe's module, made of layers of `torch.nn` alone, as a network.

    With `check` it is computed and looked at: its weights are a student's.
    """
    size, normalization = recipe.input_size, (recipe.mean, recipe.std)
    traced = (
        checkup.opened(module, *normalization, size)
        if check
        else tracing.trace(module, *normalization, size, computing=False)
    )
    return Network(
        replace(traced, notes=(*notes, *traced.notes)),
        name=recipe.name,
        architecture=getattr(module, "architecture", type(module).__name__),
        source=source,
        categories=recipe.categories() if categories is None else categories,
        input_size=size,
        device=device,
    )
