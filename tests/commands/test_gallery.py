"""The README's pictures come from the labs' own cells."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from labsupport.commands import gallery, main
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import read
from labsupport.commands.requirements import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (200, 60, 20, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def shown(name: str, *pictures: bytes) -> dict:
    outputs = [{"data": {"image/png": base64.b64encode(one).decode()}} for one in pictures]
    return {
        "cells": [{"id": "else", "outputs": []}, {"id": gallery.CELLS[name], "outputs": outputs}]
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_lab_has_a_cell_whose_picture_the_readme_shows_with_words(path: Path):
    cells = {cell["id"]: cell["cell_type"] for cell in read(path)["cells"]}
    assert cells[gallery.CELLS[path.stem]] == "code"
    words = re.search(rf"!\[([^\]]+)\]\(data/gallery/{path.stem}\.jpg\)", README)
    assert words
    assert len(words[1]) > 20
    with Image.open(ROOT / "data" / "gallery" / f"{path.stem}.jpg") as picture:
        assert picture.format == "JPEG"
        assert picture.width <= gallery.WIDEST


def test_the_last_picture_of_the_cell_is_taken_and_none_is_told():
    taken = gallery.picture(shown("05_occlusion", png(8, 4), png(6, 6)), "05_occlusion")
    assert Image.open(io.BytesIO(taken)).size == (6, 6)
    with pytest.raises(Fault, match="'topic-3-look' of 05_occlusion shows no picture"):
        gallery.picture(shown("05_occlusion"), "05_occlusion")


@pytest.mark.parametrize(("size", "expected"), [((1800, 200), (900, 100)), ((40, 30), (40, 30))])
def test_a_picture_fits_a_page_and_is_never_enlarged(size, expected):
    assert Image.open(io.BytesIO(gallery.jpeg(png(*size)))).size == expected


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["05"], ["05_occlusion.jpg"]),
        (["banner"], ["banner.jpg"]),
        (["banner", "05"], ["05_occlusion.jpg", "banner.jpg"]),
        ([], sorted(["banner.jpg", *(f"{path.stem}.jpg" for path in NOTEBOOKS)])),
    ],
)
def test_the_command_writes_one_picture_a_lab_and_the_first_when_it_is_named_or_with_all(
    words, names, ready_here, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(gallery, "executed", lambda notebook, path: shown(path.stem, png(50, 40)))
    monkeypatch.setattr(gallery, "banner", lambda: png(60, 20))
    assert main(["gallery", *words, "--to", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    assert f"{names[0]}:" in capsys.readouterr().out
    if "banner.jpg" in names:
        assert Image.open(tmp_path / "new" / "banner.jpg").size == (60, 20)


def test_the_readme_begins_with_the_banner():
    assert re.match(r"# [^\n]+\n\n!\[[^\]]{60,}\]\(data/gallery/banner\.jpg\)", README)
    with Image.open(ROOT / "data" / "gallery" / "banner.jpg") as picture:
        assert picture.format == "JPEG"
        assert gallery.WIDEST >= picture.width > 2 * picture.height
