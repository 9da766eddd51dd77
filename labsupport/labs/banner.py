"""The README's first picture: one photograph, and what the labs make of it."""

from PIL import Image, ImageOps

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network, TargetLike
from labsupport.labs import lab14_summary as summary
from labsupport.labs.lab07_deconv import gradient_image
from labsupport.labs.lab08_optimization.visualization import class_objective, on_white
from labsupport.methods import backprop, dream, inversion, optimize, saliency, style
from labsupport.ui import figures
from labsupport.ui.objects import spotlight

TILE, COLUMNS, GAP = 172, 5, 10
PHOTO, PAINTING, UNIT = "koala", "church_at_auvers", ("fire8", 491)


def banner() -> Image.Image:
    """Two rows of five squares, each with the number of its lab; it takes a minute."""
    network = networks.load()
    photo = images.standard(images.sample(PHOTO))
    best = network.predict(photo, k=1)[0][0]
    found = backprop.gradient(network, photo, best.index, rule="guided")
    cut = saliency.segment(photo, saliency.saliency_map(network, photo, UNIT, samples=8)[0])
    ideal = class_objective(best.index)
    grown = optimize.visualize(network, ideal, recipe=optimize.MACO, size=224, seed=1)
    code = inversion.encode(network, photo, "fire5")
    painting = images.resize(images.sample(PAINTING), size=224, crop=224)
    shown: dict[str, figures.Pixels] = {
        f"{best.name}, {figures.per_cent(best.probability)}": photo,
        "02 what one unit likes": _answer(network, "top patches", UNIT),
        "04 neighbours": _answer(network, "neighbors", best.index),
        "05 what is needed": _answer(network, "occlusion", best.index),
        "07 back to the pixels": gradient_image(found.values[0]),
        "08 cut out": spotlight(photo, cut.mask),
        "08 the ideal koala": on_white(grown),
        "09 from its code": inversion.invert(network, code).image,
        "10 dreamed on": dream.dream(network, photo, "fire8", recipe=dream.VIVID).image,
        "11 painted": style.stylize(network, photo, painting).image,
    }
    pictures = (Image.fromarray(figures.pixels(one)) for one in shown.values())
    tiles = [ImageOps.fit(one, (TILE, TILE), Image.Resampling.LANCZOS) for one in pictures]
    return figures.side_by_side(tiles, list(shown), columns=COLUMNS, gap=GAP)


def _answer(network: Network, title: str, target: TargetLike) -> Image.Image:
    """What one method of the summary's sheet says about the photograph."""
    methods = [one for one in summary.METHODS if one.title == title]
    sheet = summary.ask(network, images.sample(PHOTO), target, methods=methods)
    return sheet.answers[0].picture or figures.blank(TILE, TILE)
