"""Lab 10: films that are dreamed picture by picture, play in their panels, and are saved."""

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch
from IPython.display import HTML
from PIL import Image

from labsupport.core import bundled, images
from labsupport.core.errors import BadSetting
from labsupport.core.images import films
from labsupport.core.images.films import Film
from labsupport.core.network import Network
from labsupport.labs.lab10_deepdream.dream import GRADIENT, fitted, has_map, pictures, recipe_of
from labsupport.methods.dream import FilmFrame, dream_film, zoom_film
from labsupport.ui import controls, declare, figures
from labsupport.ui.panel import Live


class FilmLive(Live):
    """A `Live` panel whose pictures, when all are there, play in its place and can be saved."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.film: Film | None = None
        self._filmed: FilmFrame | None = None
        self.video = widgets.HTML()
        self.video.add_class("lab-film")
        self.film_button = widgets.Button(
            description="Save film", icon="film", disabled=True, tooltip="as MP4, into pictures/"
        )
        super().__init__(*arguments, **keywords)
        self._right.children = (*self._right.children, self.video)
        self.buttons.children = (*self.buttons.children, self.film_button)
        self.film_button.on_click(lambda _: self.answer(self._film_pressed))

    def put(self, *arguments: Any, **keywords: Any) -> None:
        """Show a frame; after the last one, the film plays in the picture's place."""
        super().put(*arguments, **keywords)
        if self.frame is not self._filmed:
            self._filmed = self.frame
            self.film = _film_of(self.frame) if self.frame.progress == 1 else None
            self.film_button.disabled = self.film is None
            self.video.value = "" if self.film is None else _played(self.film, self.alt)
        if self.film is not None:
            self.image.layout.display = "none"

    def save_film(self, folder: str | Path = "") -> Path:
        """Write the film as MP4 into a folder, numbered; nothing is overwritten."""
        if self.film is None:
            raise BadSetting(
                f"{self.title}: there is no film yet. Press Run, and wait for its end."
            )
        return films.write(self.film, self.free_place(f"{folder or self.folder}/", ".mp4"))

    def _film_pressed(self) -> None:
        self.say("", "error")
        self.say(f"Saved as {self.save_film()}.", "note")


def _film_of(frame: FilmFrame) -> Film:
    return Film(torch.cat(frame.images), frame.settings.get("fps", 8))


def kept_film() -> HTML:
    """Ten seconds of 480 x 320 pixels that were dreamed before: 2015's zoom, with VGG-16's
    `relu4_3`, by `data/build/dreams.py`. Errors: `DamagedData`."""
    alt = "A flight into a pagoda that becomes dogs with many eyes"
    video = _video(bundled.path("dreams/zoom.mp4").read_bytes(), 480, alt)
    return HTML(video)  # type: ignore[no-untyped-call]  # IPython's HTML has no annotations


def _played(film: Film, alt: str) -> str:
    width = film.images.shape[3] * (2 if film.images.shape[3] <= 256 else 1)
    return _video(films.encode(film), width, alt)


def _video(content: bytes, width: int, alt: str) -> str:
    """An MP4 that plays at once, again and again, as HTML; all of it is in the page."""
    data = base64.b64encode(content).decode()
    words = html.escape(alt, quote=True)
    return (
        f'<video controls autoplay loop muted playsinline width="{width}" '
        f'aria-label="{words}" src="data:video/mp4;base64,{data}">{words}</video>'
    )


def _draw_film(film: FilmFrame) -> tuple[Image.Image, str]:
    image = film.dream.image
    picture = figures.enlarge(image, 2 if image.shape[3] <= 256 else 1)
    number = min(len(film.images) + 1, film.count)
    recipe = film.settings["recipe"]
    how = f"{recipe['iterations']} iterations on {recipe['octaves']} octaves each"
    extra = "zoom" in film.settings and f", {film.settings['zoom']:.0%} nearer each time"
    kept = "carry" in film.settings and f", {film.settings['carry']:.0%} of the detail kept"
    return picture, f"Picture {number} of {film.count}; {how}{extra or kept or ''}."


CLIPS = ("china", "neuschwanstein", "flower", "cafe_terrace", "great_wave")
RECIPE = declare.together(
    gradient=GRADIENT, octaves=declare.whole(2, 1, 4), iterations=declare.whole(6, 2, 20)
)
SIDE = declare.whole(240, 160, 480, step=80, unit="px", label="longer side")
CLIP: Any = declare.Declared(lambda _, name, __: ClipMenu(name), "china")


@declare.live("Zoom film", draw=_draw_film, kind=FilmLive)
def zoom_panel(
    image: torch.Tensor = declare.photo("neuschwanstein", pictures, square=False),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire7", keep=has_map),
    count: int = declare.whole(16, 4, 120, step=4, label="pictures"),
    zoom: int = declare.whole(5, 1, 20, unit="%"),
    how: Mapping[str, Any] = RECIPE,
    side: int = SIDE,
) -> Iterator[FilmFrame]:
    """Dream, come nearer, dream on: 2015's endless zoom, which plays when it is done."""
    picture, recipe = fitted(image, side), recipe_of(**how)
    return zoom_film.frames(network, picture, layer, count=count, share=zoom / 100, recipe=recipe)


@declare.live("Dreamed film", draw=_draw_film, kind=FilmLive)
def film_panel(
    clip: Film = CLIP,
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire5", keep=has_map),
    carry: float = declare.real(0.5, 0.0, 1.0, step=0.1, label="kept detail"),
    how: Mapping[str, Any] = RECIPE,
    side: int = SIDE,
) -> Iterator[FilmFrame]:
    """A short film, picture by picture: a camera over a photograph, or your own."""
    shots = torch.cat([fitted(one[None], side) for one in clip.images])
    for frame in dream_film.frames(network, shots, layer, carry=carry, recipe=recipe_of(**how)):
        yield replace(frame, settings={**frame.settings, "fps": clip.fps})


class ClipMenu(controls.UploadMenu):
    """A menu of short films and an upload of a film or of several pictures; the value is a `Film`.

    The bundled ones are a camera's way over a photograph or a painting.
    """

    kept = 1  # a film is large
    tried = 2

    def __init__(self, default: str = "china") -> None:
        self._sources = pictures()
        titles = {name: self._sources[name].title for name in CLIPS}
        button = {
            "accept": "image/*,video/*",
            "multiple": True,
            "tooltip": "Your film (MP4, MOV, WebM, GIF) or several pictures",
        }
        super().__init__(titles, default, "film", button)

    def _make(self, name: str) -> Film:
        photo = self._sources[name].image
        height, width = fitted(photo, 480).shape[2:]
        return films.pan(photo, (height, width), 12, fps=8)

    def open_files(self, files: Sequence[tuple[str, bytes]]) -> None:
        """One film, or pictures in the order of their names."""
        name = files[0][0] if len(files) == 1 else f"{len(files)} pictures"
        if len(files) == 1:
            film = films.read(files[0][1], most=24, side=480)
        else:
            shots = [images.load(content) for _, content in sorted(files)]
            film = films.from_pictures(shots[:48], side=480)
        self._add(b"".join(content for _, content in files), name, film)
