"""`gallery`: the README's pictures, the first of all and one a lab, taken from labs as they run."""

import base64
import io
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import Notebook, chosen
from labsupport.commands.render import executed, prepared
from labsupport.commands.requirements import ROOT

# The cell of each lab whose picture stands for it.
CELLS = {
    "00_start_here": "wall",
    "01_case_studies": "topic-5-picture",
    "02_patches": "six-rows",
    "03_weights": "warm-up-panel",
    "04_representation": "image-map",
    "05_occlusion": "topic-3-look",
    "06_activations": "topic-3-panel",
    "07_deconv": "zeiler",
    "08_optimization": "topic-2-gallery",
    "09_reconstruction": "topic-1-panel",
    "10_deepdream": "topic-3-sheet",
    "11_style": "topic-4-colours",
    "12_fooling": "exercise-1-check",
    "13_linear_classifiers": "topic-3-decays",
    "14_summary": "unit-answers",
}
WIDEST = 900  # pixels
TALLEST = 700
QUALITY = 82
BANNER = "banner"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `gallery`."""
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05, or banner (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "data" / "gallery", help="the folder")


def main(options: Namespace) -> int:
    """Execute the labs and keep a picture of each."""
    words = [word for word in options.labs if word != BANNER]
    labs = chosen(words) if words or not options.labs else []
    if unknown := [path.stem for path in labs if path.stem not in CELLS]:
        raise Fault(
            f"No cell is named whose picture stands for {unknown[0]}. Add a line to CELLS in "
            "labsupport/commands/gallery.py, with the id of a cell that shows a picture."
        )
    first = not options.labs or BANNER in options.labs
    act = partial(make, labs, options.to, first=first)
    return interpreters.in_interpreter(environment.ready("instructor"), act)


def make(labs: list[Path], folder: Path, *, first: bool) -> int:
    """Write the pictures, and the README's `first` one."""
    folder.mkdir(parents=True, exist_ok=True)
    if first:
        keep(banner(), BANNER, folder)
    for path in labs:
        notebook = executed(prepared(path, solved=False, presenter=False), path)
        keep(picture(notebook, path.stem), path.stem, folder)
    return 0


def keep(png: bytes, name: str, folder: Path) -> None:
    """Write it as a JPEG, and say so."""
    written = jpeg(png)
    (folder / f"{name}.jpg").write_bytes(written)
    print(f"{name}.jpg: {len(written) / 1e3:.0f} kB", flush=True)


def banner() -> bytes:
    """One photograph and what the labs make of it (PNG)."""
    from labsupport.labs.banner import banner

    buffer = io.BytesIO()
    banner().save(buffer, "PNG")
    return buffer.getvalue()


def picture(notebook: Notebook, name: str) -> bytes:
    """The picture (PNG) that stands for the lab; a `Fault` where its cell shows none."""
    for cell in notebook["cells"]:
        if cell["id"] == CELLS[name]:
            for output in reversed(cell["outputs"]):
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise Fault(f"The cell '{CELLS[name]}' of {name} shows no picture; name another in gallery.py.")


def jpeg(png: bytes) -> bytes:
    """The picture as a JPEG that fits a page, never enlarged."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((WIDEST, TALLEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
