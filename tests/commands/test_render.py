"""The pages of `render`: executed, with everything in them, and asking for nothing."""

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from labsupport.commands import main, pages, render
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import read, text_of
from labsupport.commands.requirements import ROOT

TEMPLATE = ROOT / "tests" / "notebooks" / "template_short.ipynb"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PANEL = """
from PIL import Image
from labsupport.ui import Panel, declare
panel = Panel(lambda side: (Image.new("RGB", (80, 60), (side, 99, 9)), f"{side} wide"),
              {"side": declare.whole(3, 1, 9)}, title="Colours & sides")
panel
"""


def cell(kind: str, source: str, **more: object) -> dict[str, object]:
    made: dict[str, object] = {"cell_type": kind, "id": f"c{abs(hash(source))}", "source": source}
    if kind == "code":
        made |= {"outputs": [], "execution_count": None}
    return made | {"metadata": {}} | more


def notebook(*cells: dict[str, object]) -> dict[str, object]:
    return json.loads(TEMPLATE.read_text(encoding="utf-8")) | {"cells": list(cells)}


def rendered(folder: Path, titles: dict[str, str], *cells: dict[str, object]) -> str:
    """The page of a lab with these cells."""
    path = folder / "05_small.ipynb"
    path.write_text(json.dumps(notebook(*cells)), encoding="utf-8")
    prepared = render.prepared(path, solved=False, presenter=False)
    return pages.page(render.executed(prepared, path), "05_small", titles)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """A small lab with a formula, a link to another, a panel, its picture, a card, an exercise."""
    folder = tmp_path_factory.mktemp("render")
    words = (
        "# A lab\nSo $x_1^2 < 3$, and\n\n$$y = \\arg\\max_c z$$\n\nSee [next](07_next.ipynb#a), "
    )
    card = 'from IPython.display import Markdown\nMarkdown("It is $k_2 - 1$.")'
    parts = [
        cell("markdown", words + "[none](08_none.ipynb), [words](words.md) and `$code$`."),
        cell("code", PANEL),
        cell("code", 'panel.controls["side"].put(9)'),
        cell("code", card),
        cell("markdown", "For you alone.", metadata={"tags": ["presenter"]}),
    ]
    titles = {"05_small": "A lab", "07_next": "Another <lab>", "words": "Words"}
    return rendered(folder, titles, *parts)


def test_a_page_asks_for_nothing(page: str):
    assert not re.search(r"<(script|link|iframe|object)\b", page)
    assert "default-src 'none'" in page
    assert set(re.findall(r'src="([^:"]+):', page)) == {"data"}
    assert not re.search(r"url\(\s*['\"]?(?!data:|#)", page)
    assert "@import" not in page
    assert "For you alone" not in page, "a note for the instructor"


def test_formulas_are_mathml_links_lead_to_pages_and_panels_are_lines(page: str):
    assert page.count("<math") == 3
    assert page.count('display="block"') == 1 + page.count('math[display="block"]')
    assert "<code>$code$</code>" in page
    assert "$x_1" not in page
    assert "It is <math" in page, "in an output"
    # a panel is a line with its title, and the last picture that it had follows
    assert page.count('class="lab-live"') == 1
    assert "<b>Colours &amp; sides</b>" in page
    assert "widget-view" not in page
    ((words, picture),) = re.findall(r'<img alt="([^"]+)" src="[^"]*png;base64,([^"]+)"', page)
    assert words == "Colours &amp; sides. 9 wide"
    assert Image.open(BytesIO(b64decode(picture))).getpixel((0, 0)) == (9, 99, 9)
    # links lead to pages, or are words
    assert '<a href="07_next.html#a">next</a>' in page
    assert 'none, <a href="words.html">words</a> and' in page
    assert ".ipynb" not in page
    assert '<a href="07_next.html">Another &lt;lab&gt; →</a>' in page
    assert page.count('<a href="index.html">') == 2


def prepared(**choices: bool) -> dict:
    path = ROOT / "notebooks" / "05_occlusion.ipynb"
    return render.prepared(path, **{"solved": False, "presenter": False, **choices})


def test_what_is_for_the_instructor_is_kept_and_exercises_are_solved_on_request():
    kept, without = (prepared(presenter=choice) for choice in (True, False))
    assert len(kept["cells"]) > len(without["cells"])
    assert "NotImplementedError" not in "".join(map(text_of, prepared(solved=True)["cells"]))


def test_a_notebook_that_fails_is_told(tmp_path: Path):
    path = tmp_path / "05_broken.ipynb"
    content = notebook(cell("markdown", "# A lab"), cell("code", "1 / 0"))
    with pytest.raises(Fault, match=r"(?s)05_broken.ipynb does not run to its end.*ZeroDivision"):
        render.executed(content, path)


def test_a_panel_that_plays_a_film_is_that_film_on_the_page():
    film = {"_dom_classes": ["lab-film"], "value": "<video></video>"}
    widgets = {"m": {"state": {"children": ["IPY_MODEL_f"]}}, "f": {"state": film}}
    notebook = {"metadata": {"widgets": {pages.STATE: {"state": widgets}}}}
    output = {"data": {pages.WIDGET: {"model_id": "m"}, "image/png": "still"}}
    _, shown = pages._static_output(output, notebook, {})
    assert shown["data"] == {"text/html": "<video></video>"}
    film["value"] = ""
    _, shown = pages._static_output(output, notebook, {})
    assert shown["data"] == {"image/png": "still"}


def formulas(path: Path) -> list[str]:
    cells = [one for one in read(path)["cells"] if one["cell_type"] == "markdown"]
    words = pages.NOT_PROSE.sub("", "\n\n".join(map(text_of, cells)))
    return [found[1] or found[2] for found in pages.FORMULA.finditer(words)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_formula_of_the_labs_can_be_shown_and_what_is_none_is_named(path: Path):
    for latex in formulas(path):
        assert pages.formula(latex, block=False).startswith("<math")
    for latex in (r"\nonsense{x}", r"\begin{align"):
        with pytest.raises(Fault, match="cannot be shown"):
            pages.formula(latex, block=True)


def test_the_command_writes_pages_and_their_list(ready_here, tmp_path, monkeypatch, capsys):
    made: list[str] = []

    def not_executed(notebook, path, told, threads):
        made.append(path.stem)
        return notebook, {}

    monkeypatch.setattr(render, "answering", not_executed)
    command = ["render", "05", "3", "--to", str(tmp_path / "new")]
    assert main(command) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()}
    texts = {f"{path.stem}.html" for path in (ROOT / "notebooks").glob("*.md")}
    assert set(written) == {"index.html", "03_weights.html", "05_occlusion.html", *texts}
    assert {"glossary.html", "scale.html", "teaching.html"} <= texts
    assert "<a href='05_occlusion.html'>" in written["index.html"]
    assert "<a href='glossary.html'>Words</a>" in written["index.html"]
    assert "<math" in written["glossary.html"]
    assert "NotImplementedError" in written["05_occlusion.html"]
    said = capsys.readouterr().out
    assert "index.html in a browser" in said
    assert "2 of 2 pages" in said
    assert sorted(made) == ["03_weights", "05_occlusion"]
    # what is there already is not made again; other options make other pages
    assert main(command) == 0
    assert "05_occlusion.html is up to date." in capsys.readouterr().out
    assert len(made) == 2
    monkeypatch.setattr(render, "package_digest", lambda: "another package")
    assert main(command) == 0
    assert len(made) == 4
    monkeypatch.setattr(render, "executed", lambda notebook, path, threads: notebook)
    assert main([*command, "--still"]) == 0
    assert len(made) == 4
    assert "lab-answers" not in (tmp_path / "new" / "05_occlusion.html").read_text("utf-8")


def test_a_fault_in_one_lab_leaves_the_others_their_pages(ready_here, tmp_path, monkeypatch):
    def answering(notebook, path, told, threads):
        if path.stem == "03_weights":
            raise Fault("03_weights does not run.")
        return notebook, {}

    monkeypatch.setattr(render, "answering", answering)
    assert main(["render", "05", "3", "--to", str(tmp_path)]) == 1
    assert {path.name for path in tmp_path.glob("0*")} == {"05_occlusion.html"}


def test_the_time_left_follows_from_what_is_done(monkeypatch, capsys):
    clock = iter([0.0, 60.0, 120.0])
    monkeypatch.setattr(render.time, "perf_counter", lambda: next(clock))
    progress = render.Progress(4)
    progress.tell("05", 0.5)
    progress.finished("07", "07.html: 1 MB")
    assert capsys.readouterr().out.split("\n")[1] == "1 of 4 pages, about 2 min left"


def test_a_drawing_beside_the_notebooks_is_in_the_page(tmp_path, monkeypatch):
    (tmp_path / "drawings").mkdir()
    (tmp_path / "drawings" / "05_box.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    words = cell("markdown", "# A lab\n\n![A box](drawings/05_box.svg)")
    written = pages.page(notebook(words), "05_small", {"05_small": "A lab"}, folder=tmp_path)
    assert re.search(r'<img alt="A box" src="data:image/svg\+xml;base64,[^"]+"', written)
    with pytest.raises(Fault, match=r"drawings/05_box\.svg, which"):
        pages.page(notebook(words), "05_small", {"05_small": "A lab"}, folder=tmp_path / "none")
