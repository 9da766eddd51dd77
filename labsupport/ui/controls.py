"""The controls that are more than a widget: menus of pictures, networks and layers, class boxes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from PIL import Image

from labsupport.core import errors
from labsupport.core.errors import LabError, UnknownLayer, nearest
from labsupport.ui import figures
from labsupport.ui.control import MANY, Control, Remembered, Step, spaced, value_of

if TYPE_CHECKING:
    import torch

    from labsupport.core.images import ImageSet
    from labsupport.core.network import Network
    from labsupport.core.network.layers import Layer

OWN_ANSWER, STRONGEST_UNIT = "the network's own answer", "its strongest unit"
Unit = tuple[str, int]  # a layer, and a channel


def look(label: str, unit: str = "") -> dict[str, Any]:
    """What every control's widget takes: its label with the unit, all of it shown."""
    return {
        "description": f"{label} ({unit})" if unit else label,
        "style": {"description_width": "initial"},
        "layout": {"width": "auto"},
    }


# ---------------------------------------------------------------- pictures


class UploadMenu(Control):
    """A menu with an upload beside it; what is uploaded is added as "Yours: ..." and chosen.

    `titles` has the names of the menu and what is read there, `button` what `FileUpload` takes. A
    subclass says what a name stands for (`_make`), and what becomes of files (`open_files`, which
    calls `_add`).
    """

    kept = 4  # uploads; the oldest goes first
    tried = 1  # pictures that a walk uploads together

    def __init__(
        self, titles: Mapping[str, str], default: str, label: str, button: Mapping[str, Any]
    ) -> None:
        self._titles = titles
        self._own: dict[str, tuple[str, Any]] = {}
        self._made = Remembered(MANY)
        menu = widgets.Dropdown(options=self._options(), value=default, **look(label))
        self.upload = widgets.FileUpload(icon="folder-open", description="", **button)
        # only its icon is shown: the widget itself would add a number of files
        self.upload.add_class("lab-upload")
        self.upload.observe(self._uploaded, "value")
        row = widgets.HBox([menu, self.upload])
        row.add_class("lab-with-upload")
        super().__init__(menu, shown=row)

    def open_files(self, files: Sequence[tuple[str, bytes]]) -> None:
        """What an upload of files, each with its name, does."""
        raise NotImplementedError

    def _make(self, name: str) -> Any:
        raise NotImplementedError

    @property
    def value(self) -> Any:
        name = str(self.source.value)
        if name in self._own:
            return self._own[name][1]
        return self._made.get(name, lambda: self._make(name))

    @property
    def words(self) -> str:
        name = str(self.source.value)
        return self._own[name][0] if name in self._own else name

    def _add(self, content: bytes, name: str, value: Any) -> None:
        """Put what was made of a file into the menu, and choose it."""
        key = "own-" + hashlib.sha256(content).hexdigest()[:12]
        self._own.pop(key, None)
        while len(self._own) >= self.kept:
            del self._own[next(iter(self._own))]
        self._own[key] = (name, value)
        with self._silence():
            self.source.options = self._options()
            self.source.value = key
        self._kept = key
        self._accept()
        self._tell()

    def _options(self) -> list[tuple[str, str]]:
        own = [(f"Yours: {name}", key) for key, (name, _) in self._own.items()]
        return own + [(title, name) for name, title in self._titles.items()]

    def steps(self) -> list[Step]:
        """A few of the menu, a good upload, and one that is none."""
        shades = [Image.radial_gradient("L"), Image.linear_gradient("L")][: self.tried]
        good = [figures.to_png(one.convert("RGB").resize((320, 240))) for one in shades]
        return [
            *map(self._step, spaced(list(self._titles), 3)),
            Step(f"{self.label}: upload a good picture", lambda: self._send(*good)),
            Step(f"{self.label}: upload a text file", lambda: self._send(b"no picture"), True),
        ]

    def _send(self, *contents: bytes) -> None:
        """Put files into the upload widget as the browser does."""
        about = {"type": "image/png", "last_modified": 0}
        files = [
            {"name": f"walk{place or ''}.png", "size": len(content), "content": content, **about}
            for place, content in enumerate(contents)
        ]
        self.upload.set_state({"value": files})

    def _uploaded(self, _change: Any) -> None:
        if not self.upload.value:
            return
        files = [(str(file["name"]), bytes(file["content"])) for file in self.upload.value]
        self._say("")
        try:
            self.open_files(files)
        except LabError as error:
            self._say(f"{files[0][0]}: {error}")
        finally:
            # emptied, so that the same files can be chosen again
            self.upload.value = ()


class ImageMenu(UploadMenu):
    """A menu over an `ImageSet`, with *Open your own image* beside it.

    The value is an image (1, 3, H, W) in [0, 1]. A file that is no picture gives a message in the
    panel, and the picture before it stays.

    The picture that the lab begins with stands first, then the others by their groups, from A to Z.
    A lab takes the middle square of a picture. Where an upload is no square, two more controls
    appear: one moves the square along, one takes the whole, with bars. `square=False` is for labs
    that take pictures as they are.
    """

    def __init__(
        self, images: ImageSet[Any], default: str, *, label: str = "image", square: bool = True
    ) -> None:
        self._images, self._square = images, square
        images[default]  # an unknown name is refused here, with the nearest ones
        groups = list(dict.fromkeys(images.categories))

        def place(one: Any) -> tuple[bool, int, str]:
            return one.name != default, groups.index(one.category), one.title.casefold()

        titles = {one.name: one.title for one in sorted(images, key=place)}
        self._begins = widgets.IntSlider(0, 0, 1, **look("square begins at", "px"))
        self._whole = widgets.Checkbox(False, **look("the whole, with bars"), indent=False)
        self._crop = widgets.VBox([self._begins, self._whole], layout={"display": "none"})
        button = {"accept": "image/*", "tooltip": "Open your own image"}
        super().__init__(titles, default, label, button)
        self._begins.continuous_update = False
        for widget in self._crop.children:
            widget.observe(self._crop_moved, "value")
        self.shown = widgets.VBox([self.shown, self._crop])

    @property
    def value(self) -> Any:
        return self._made.get(self.key, lambda: self._make(str(self.source.value)))

    @property
    def key(self) -> Hashable:
        name = str(self.source.value)
        return (name, self._begins.value, self._whole.value) if name in self._own else name

    @property
    def words(self) -> str:
        part = "whole" if self._whole.value else f"from {self._begins.value} px on"
        return f"{super().words}, {part}" if self._is_cropped else super().words

    @property
    def _is_cropped(self) -> bool:
        return self._crop.layout.display is None

    def _make(self, name: str) -> torch.Tensor:
        from labsupport.core import images

        image: torch.Tensor = self._own[name][1] if name in self._own else self._images[name].image
        start = None if self._whole.value else self._begins.value
        return images.squared(image, start) if self._is_cropped else image

    def open_files(self, files: Sequence[tuple[str, bytes]]) -> None:
        from labsupport.core import images

        ((name, content),) = files
        self._add(content, name, images.load(content))

    def _accept(self) -> None:
        """Show the two controls for an upload that is no square, set to its middle."""
        name = str(self.source.value)
        height, width = self._own[name][1].shape[2:] if name in self._own else (1, 1)
        spare = abs(height - width) if self._square else 0
        with self._silence():
            self._whole.value = False
            self._begins.max = max(spare, 1)
            self._begins.value = spare // 2
        self._crop.layout.display = None if spare else "none"

    def _crop_moved(self, _change: Any) -> None:
        if not self._quiet:
            self._tell()


# ---------------------------------------------------------------- networks


class LoadingMenu(Control):
    """A menu of what is loaded when it is chosen; the choice before stays if that fails.

    `own` holds by name what needs no loading, `here` names what needs no download; `most` loaded
    things are kept, so that going back and forth is quick and memory stays bounded.
    """

    def __init__(
        self,
        titles: Mapping[str, str],
        default: str,
        *,
        load: Callable[[str], Any],
        own: Mapping[str, Any],
        here: Collection[str],
        most: int,
        label: str,
    ) -> None:
        self._load, self._own, self._here = load, dict(own), {*own, *here}
        self._titles, self._loaded = titles, Remembered(most)
        self._get(default)
        pairs = [(title, name) for name, title in titles.items()]
        super().__init__(widgets.Dropdown(options=pairs, value=default, **look(label)))

    @property
    def value(self) -> Any:
        return self._get(str(self.source.value))

    @property
    def words(self) -> str:
        """The name, and where a network's weights came from."""
        came_from = getattr(self.value, "source", "")
        return ", ".join(filter(None, (self.source.value, came_from)))

    def is_here(self, name: str) -> bool:
        """Whether it needs no download."""
        return name in self._here

    def steps(self) -> list[Step]:
        """Each one that is here; and one that is not, as if there were no connection."""
        far = [name for name in self._titles if name not in self._here][:1]
        there = [self._step(name) for name in self._titles if name in self._here]
        return there + [
            Step(f"{self.label} = {name}", partial(self._miss, name), True) for name in far
        ]

    def _miss(self, name: str) -> None:
        def without_connection(_: str) -> Any:
            raise errors.WeightsUnavailable(f"{name} is not on this computer.")

        load, self._load = self._load, without_connection
        try:
            self.put(name)
        finally:
            self._load = load

    def _accept(self) -> None:
        name = str(self.source.value)
        if name not in self._loaded and name not in self._own:
            self._say(f"Loading {self._titles[name]} ...", "note")
        try:
            self._get(name)
        except LabError as error:
            raise type(error)(f"{error} {self._kept} stays.") from error
        finally:
            self._say("", "note")

    def _get(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        return self._loaded.get(name, lambda: self._load(name))


def network_menu(
    default: str = "squeezenet1_1",
    *,
    names: Sequence[str] | None = None,
    label: str = "network",
) -> LoadingMenu:
    """A menu of networks (or of `names`), those that need no download first.

    The value is the loaded `Network`. One that cannot be had gives its `WeightsUnavailable` as a
    message in the panel, and the one before stays.
    """
    from labsupport.core import network as networks

    here = networks.offline_names()
    wanted = list(networks.names() if names is None else names)
    if default not in wanted:
        wanted.insert(0, default)
    titles = {name: name for name in wanted if name in here}
    titles |= {name: f"{name} (download)" for name in wanted if name not in here}
    return LoadingMenu(titles, default, load=networks.load, own={}, here=here, most=2, label=label)


class ClassBox(Control):
    """A box to type a class into: a name (suggestions appear), an index, or nothing.

    The value is the class's index; None for an empty box, which `empty` says the meaning of. A name
    that the network does not know gives the nearest ones as a message in the panel. For a network
    without classes it is a box for a unit, such as "conv5 3", whose value is (layer, channel).
    """

    def __init__(
        self,
        network: Network | Control,
        default: str = "",
        *,
        label: str = "class",
        empty: str = OWN_ANSWER,
    ) -> None:
        self._empty, self._label = empty, label
        box = widgets.Combobox(value=default, continuous_update=False, **look(label))
        super().__init__(box, leader=network)
        self._follow()
        self.value  # noqa: B018  # a default that this network does not know is refused here

    @property
    def network(self) -> Network:
        network: Network = value_of(self._leader)
        return network

    @property
    def value(self) -> int | Unit | None:
        text, network = str(self.source.value).strip(), self.network
        if text.casefold() in ("", self._meaning):
            return None
        if not network.categories:
            return _unit(network, text)
        marked = re.fullmatch(r"(.*)\((\d+)\)|(\d+)", text)
        if marked and text not in network.categories:
            return network.class_index(int(marked[2] or marked[3]))
        return network.class_index(text)

    @property
    def key(self) -> Hashable:
        return self.value

    @property
    def words(self) -> str:
        value = self.value
        return self._meaning if value is None else self.network.target(value).title

    @property
    def _meaning(self) -> str:
        """What an empty box says."""
        units = not self.network.categories and self._empty == OWN_ANSWER
        return STRONGEST_UNIT if units else self._empty

    def _follow(self) -> None:
        """Say and suggest what this network can be asked for."""
        self.source.options = _suggestions(self.network)
        self.source.placeholder = self._meaning
        self.source.description = self._label if self.network.categories else "unit"

    def steps(self) -> list[Step]:
        known = self.network.categories or _suggestions(self.network)
        places = len(known) // 2, len(known) - 1
        good = ["", *(str(n) if self.network.categories else known[n] for n in places)]
        return [*map(self._step, good), self._step("no such class at all", complains=True)]

    def _refresh(self) -> None:
        self._follow()
        try:
            self.value  # noqa: B018  # asked only whether the new network knows it
        except (errors.UnknownClass, errors.UnknownLayer, errors.BadSetting):
            what = "class" if self.network.categories else "unit"
            self._say(
                f"{self.network.name} does not know the {what} {self.source.value!r}: "
                f"now {self._meaning} is taken."
            )
            self.source.value = ""


def _unit(network: Network, text: str) -> Unit:
    """The unit that was typed: "conv5 3" and the like.

    Errors: `UnknownLayer`, `UnknownClass`, `BadSetting`.
    """
    found = re.fullmatch(r"[('\"]*([^\s,'\"]+)['\"]?[\s,]+(?:channel\s+)?(\d+)\)?", text)
    if not found:
        raise errors.UnknownClass(
            f"{network.name} comes without its classes: type a unit, a layer and a channel, such "
            f"as {_suggestions(network)[-1]}"
        )
    unit = network.target((found[1], int(found[2])))
    return str(unit.layer), unit.index


def _suggestions(network: Network) -> list[str]:
    """The categories; where two share a name, each with its index. Without categories, a unit of
    each layer."""
    if not network.categories:
        return [f"{layer.title} 0" for layer in network.layers]
    count = Counter(network.categories)
    return [
        f"{name} ({place})" if count[name] > 1 else name
        for place, name in enumerate(network.categories)
    ]


class LayerMenu(Control):
    """A menu of the layers (those that `keep` wants), by slide name, with their shapes.

    It shows the dozen that teach; its last entry brings all of them. The value is the layer's name.
    After a change of network it is the layer of the same title, or the one that is equally deep.
    """

    def __init__(
        self,
        network: Network | Control,
        default: str | None = None,
        *,
        keep: Callable[[Layer], bool] | None = None,
        label: str = "layer",
    ) -> None:
        self._keep, self._is_whole = keep or (lambda _: True), False
        self._layers = self._wanted(value_of(network))
        names = [layer.name for layer in self._layers]
        chosen = names[-1] if default is None else value_of(network).layer(default).name
        if chosen not in names:
            close = ", ".join(nearest(str(default), [layer.title for layer in self._layers]))
            raise UnknownLayer(f"{default!r} is not among this menu's layers. Nearest: {close}.")
        options = self._options(chosen)
        menu = widgets.Dropdown(options=options, value=chosen, **look(label))
        super().__init__(menu, leader=network)

    @property
    def network(self) -> Network:
        network: Network = value_of(self._leader)
        return network

    @property
    def layer(self) -> Layer:
        """What is known of the chosen layer."""
        return self.network.layer(self.value)

    @property
    def value(self) -> str:
        return str(self.source.value)

    @property
    def words(self) -> str:
        return self.layer.title

    def put(self, raw: Any) -> None:
        if raw not in self._shown() and raw in [layer.name for layer in self._layers]:
            super().put(_MORE)
        super().put(raw)

    def turn(self, step: int) -> None:
        """Go so many layers on, among those that are shown."""
        shown = self._shown()
        place = shown.index(self.value) + step
        self.put(shown[min(max(place, 0), len(shown) - 1)])

    def steps(self) -> list[Step]:
        """Each layer that is shown, and one that is not."""
        shown = self._shown()
        hidden = [one.name for one in self._layers if one.name not in shown]
        return [*map(self._step, [*spaced(shown), *hidden[len(hidden) // 2 :][:1]])]

    def _shown(self) -> list[str]:
        return [name for _, name in self.source.options if name not in (_MORE, _FEWER)]

    def _moved(self, change: Any) -> None:
        if self.source.value not in (_MORE, _FEWER):
            super()._moved(change)
            return
        self._is_whole = self.source.value == _MORE
        with self._silence():
            self._fill(self._kept)

    def _fill(self, chosen: str) -> None:
        self.source.options = self._options(chosen)
        self.source.value = chosen

    def _options(self, chosen: str) -> list[tuple[str, str]]:
        few = teaching_layers(self._layers)
        some = [one for one in self._layers if one in few or one.name == chosen]
        shown = self._layers if self._is_whole else some
        pairs = [(f"{one.title}  {'×'.join(map(str, one.shape))}", one.name) for one in shown]
        if len(some) < len(self._layers):
            pairs.append(("fewer layers", _FEWER) if self._is_whole else ("all layers ...", _MORE))
        return pairs

    def _wanted(self, network: Network) -> list[Layer]:
        """The layers of the kind that is wanted; of a network that has none, those with maps, or
        all that it has."""
        wanted = [layer for layer in network.layers if self._keep(layer)]
        with_maps = [layer for layer in network.layers if layer.has_map]
        return wanted or with_maps or list(network.layers)

    def _refresh(self) -> None:
        """The layer of the same title, else the one equally deep: "features.11" of one network
        has nothing to do with that of another."""
        place = [layer.name for layer in self._layers].index(self.value)
        depth = place / max(len(self._layers) - 1, 1)
        layers = self._wanted(self.network)
        known = {name: layer for layer in layers for name in (*layer.aliases, layer.title)}
        same = known.get(self._layers[place].title, layers[round(depth * (len(layers) - 1))])
        self._layers = layers
        self._fill(same.name)


_MORE, _FEWER = "\0all layers", "\0fewer layers"  # entries of the menu that are no layers
_TAUGHT = re.compile(
    r"(conv|relu|pool|fc)\d+(_\d+)?|conv\d/\dx\d(_s2)?|fire\d+|res\d[a-z]\d*"
    r"|inception_\d[a-z](/output)?"
)


def teaching_layers(layers: Sequence[Layer], most: int = MANY) -> list[Layer]:
    """The dozen to begin with: those that the slides name, the blocks before their parts.

    Where that is more than a dozen, ReLUs go, then pools, then every so many of the rest.
    """
    taught = [layer for layer in layers if _TAUGHT.fullmatch(layer.title)]
    few = taught if len(taught) >= most // 2 or len(layers) <= most else list(layers)
    for kind in ("relu", "pool"):
        rest = [layer for layer in few if kind not in layer.kind]
        few = rest if len(few) > most and len(rest) >= most // 2 else few
    return spaced(few, most)


def block_ends(layers: Sequence[Layer], count: int, *, enough: int | None = None) -> list[Layer]:
    """So many of these layers, evenly from the first to the last; of a block with branches only its
    end, if that leaves `enough` (as many as wanted, if that is None)."""
    whole = [layer for layer in layers if layer.ends_block]
    ends = whole if len(whole) >= (count if enough is None else enough) else layers
    return spaced(ends, count)


class ChannelSlider(Control):
    """A slider over the channels of the chosen layer; it ends where that layer's channels end."""

    def __init__(self, layer: LayerMenu, default: int = 0, *, label: str = "channel") -> None:
        last = layer.layer.shape[0] - 1
        slider = widgets.IntSlider(value=default, min=0, max=last, **look(label))
        super().__init__(slider, leader=layer)

    def _refresh(self) -> None:
        self.source.max = self._leader.layer.shape[0] - 1
