"""A lab as one HTML file that needs nothing else: neither a kernel nor a connection."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import FOLDER, Notebook

Panels = Mapping[str, dict[str, Any]]  # what each panel shows where, by its widget's model

WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$", re.DOTALL)
_ELEMENTS = "style|script|pre|code"
NOT_EMBEDDED = re.compile(r'<img\b[^>]*? src="(?!data:)([^"]+)"')
NOT_PROSE = re.compile(rf"(<(?:{_ELEMENTS})\b.*?</(?:{_ELEMENTS})>|```.*?```|`[^`\n]*`)", re.DOTALL)
# In operator names, LaTeX has one that the converter does not know.
UNKNOWN = {r"\arg": r"\operatorname{arg}"}

# What the page of a lab adds to nbconvert's own: no request to anywhere, a way to read on, and the
# words of each picture, which nbconvert's template leaves out.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_css -%}
<meta http-equiv="Content-Security-Policy" content="{{ resources.policy }}">
<style>{{ resources.style }}</style>
{%- endblock -%}
{%- block body_header -%}
<body class="jp-Notebook" data-jp-theme-light="true" data-jp-theme-name="JupyterLab Light">
{{ resources.links }}
<main>
{%- endblock -%}
{%- block data_png scoped -%}
{%- set words = output | get_metadata('alt', 'image/png') or '' -%}
{%- set width = output | get_metadata('width', 'image/png') -%}
<div class="jp-RenderedImage jp-OutputArea-output">
<img src="data:image/png;base64,{{ output.data['image/png'] }}" alt="{{ words | escape_html }}"
{%- if width %} width="{{ width }}"{% endif %}></div>
{%- endblock -%}
{%- block body_footer -%}</main>{{ resources.links }}{{ resources.panels }}</body>{%- endblock -%}
"""
# A page asks nobody for anything, and runs no script but ours.
POLICY = (
    "default-src 'none'; img-src data:; media-src data:; font-src data:; "
    "style-src 'unsafe-inline'; script-src 'sha256-{}'"
)
IN_THE_PAGE = Path(__file__).parents[1] / "jupyter"
STYLE = """
body.jp-Notebook { max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 3rem; height: auto;
  overflow: visible; font-size: 15px; }
nav { display: flex; justify-content: space-between; gap: 1rem; padding: .6rem 0;
  font: 15px/1.4 system-ui, sans-serif; }
nav a { color: #0b62a8; }
.jp-RenderedHTMLCommon { font-size: 15px; line-height: 1.55; }
.jp-InputPrompt, .jp-OutputPrompt { display: none; }
.jp-OutputArea-output { overflow-x: auto; }
.jp-RenderedImage img, .jp-RenderedHTMLCommon img { max-width: 100%; height: auto; }
math { font-size: 1.08em; }
math[display="block"] { margin: .8em 0; }
.lab-live { max-width: 46em; margin: .3em 0; padding: .5em 1em; border-left: 5px solid #5b6470;
  background: #f2f4f6; border-radius: 8px; font: 14px/1.5 system-ui, sans-serif; }
"""
LIVE = (
    "<div class='lab-live'><b>{}</b>: a panel, whose controls work in the notebook. Its picture "
    "comes next.</div>"
)
ANSWERS = """<section class="lab-answers{wide}" data-panel="panel-{model}" aria-label="{title}">
<div class="lab-title" role="heading" aria-level="3">{title}</div>
<div class="lab-dials"></div>
<div class="lab-shown"><img class="lab-picture" alt="{title}. {words}" width="{width}"
 height="{height}" style="width: {css}" src="{data}"></div>
<div class="lab-below"><div class="lab-readout" role="status" aria-live="polite">{words}</div>
<div class="lab-note" role="status" aria-live="polite"></div>
<details class="lab-stored"><summary>{stored}</summary>{more}</details></div>
</section>"""
PICTURE = '<div class="jp-RenderedImage"><img alt="{words}"{width} src="{source}"></div>'
INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The labs</title>
<style>body{{max-width:46rem;margin:3rem auto;padding:0 1.5rem;font:16px/1.6 system-ui,sans-serif}}
a{{color:#0b62a8}}li{{margin:.35em 0}}</style></head>
<body><main><h1>Understanding and visualizing convolutional neural networks</h1>
<p>The labs, executed, to read without a kernel or a connection. The panels answer with what is
stored of them. In the notebooks everything can be moved: <code>python3 -m labsupport lab</code>.
</p>
<ul style="list-style:none;padding:0">
{lines}
</ul></main></body></html>
"""


def page(
    notebook: Notebook,
    name: str,
    titles: Mapping[str, str],
    panels: Panels | None = None,
    folder: Path = FOLDER,
) -> str:
    """The executed notebook as HTML; `titles` are the labs that are pages too, in order.

    Of the `panels`, the page shows what is stored of them; of the others, their last picture. The
    drawings that the text refers to lie in the `folder`; one that does not is a `Fault`.
    """
    import nbformat

    panels = panels or {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            parts = [_static_output(output, notebook, panels) for output in cell["outputs"]]
            cell["outputs"] = [part for few in parts for part in few]
    notebook["metadata"].pop("widgets", None)
    script, style = ((IN_THE_PAGE / f"page.{kind}").read_text("utf-8") if panels else ""
                     for kind in ("js", "css"))  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    resources = {
        "metadata": {"name": titles[name]},
        "style": STYLE + style,
        "policy": POLICY.format(digest),
        "links": _page_links(name, titles),
        "panels": "".join(_stored(*one) for one in panels.items())
        + (f"<script>{script}</script>" if panels else ""),
    }
    text = json.dumps(notebook)
    node = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    body: str = _exporter(folder).from_notebook_node(node, resources=resources)[0]
    if lacking := NOT_EMBEDDED.search(body):
        raise Fault(f"The page of {name} needs {lacking[1]}, which is not there.")
    return _with_page_links(body, titles)


def pack_pictures(notebook: Notebook) -> None:
    """Let the pictures of executed cells take less room; those of panels stay as they are."""
    from labsupport.commands.packing import as_data, packed

    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data and WIDGET not in data:
                about = output["metadata"].pop("image/png", {})
                words = html.escape(about.get("alt", ""))
                width = f' width="{about["width"]}"' if "width" in about else ""
                source = as_data(packed(base64.b64decode(data.pop("image/png"))))
                data["text/html"] = PICTURE.format(words=words, width=width, source=source)


def _stored(model: str, panel: dict[str, Any]) -> str:
    """A panel's states as JSON that the page's script reads."""
    content = json.dumps(panel, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="panel-{model}">{content}</script>\n'


def index(titles: Mapping[str, str]) -> str:
    """The page that lists the labs.

    >>> "<a href='05_word.html'>Lab 5</a>" in index({"05_word": "Lab 5"})
    True
    """
    lines = (f"<li><a href='{name}.html'>{html.escape(words)}</a></li>"
             for name, words in titles.items())  # fmt: skip
    return INDEX.format(lines="\n".join(lines))


def formula(latex: str, *, block: bool) -> str:
    """A formula as MathML; one that cannot be converted whole is a `Fault`.

    >>> formula("x^2", block=False).startswith("<math")
    True
    """
    from latex2mathml.converter import convert

    known = re.sub(r"\\[a-zA-Z]+", lambda name: UNKNOWN.get(name[0], name[0]), latex)
    try:
        mathml: str = convert(known, display="block" if block else "inline")
    except Exception as error:  # it has no common kind
        raise Fault(
            f"This formula cannot be shown without JavaScript: {latex} ({error!r})"
        ) from None
    if "\\" in re.sub(r"<[^>]+>", "", mathml):
        raise Fault(f"This formula cannot be shown without JavaScript: {latex}")
    return mathml


def prose(text: str) -> str:
    """HTML or Markdown with its formulas converted; styles and code are left alone.

    >>> prose("<code>$x$</code> and `$x$`")
    '<code>$x$</code> and `$x$`'
    """
    parts = NOT_PROSE.split(text)
    parts[::2] = [FORMULA.sub(_as_mathml, part) for part in parts[::2]]
    return "".join(parts)


def _as_mathml(match: re.Match[str]) -> str:
    return formula(html.unescape(match[1] or match[2]), block=bool(match[1]))


@cache
def _exporter(folder: Path) -> Any:
    """nbconvert's exporter, with our template and our way to write formulas."""
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return formula(body, block=True)

        def inline_math(self, body: str) -> str:
            return formula(body, block=False)

    def markdown(source: str) -> str:
        renderer = Renderer(escape=False, embed_images=True, path=str(folder))
        written: str = MarkdownWithMath(renderer=renderer).render(source)
        return written

    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        raw_template=TEMPLATE, exclude_anchor_links=True
    )
    exporter.register_filter("markdown2html", markdown)  # type: ignore[no-untyped-call]
    return exporter


def _static_output(
    output: dict[str, Any], notebook: Notebook, panels: Panels
) -> Iterator[dict[str, Any]]:
    """A panel as what is stored of it, or as a line on it and its picture; either with its film.
    The formulas of a card as MathML."""
    data = output.get("data", {})
    if WIDGET not in data:
        if "text/html" in data:
            data["text/html"] = prose("".join(data["text/html"]))
        yield output
        return
    model = data[WIDGET]["model_id"]
    panel = _panel(model, notebook)
    title, film = panel.get("lab-title", "Panel"), panel.get("lab-film")
    line = _answers(model, panels[model]) if model in panels else LIVE.format(html.escape(title))
    yield output | {"data": {"text/html": line, "text/plain": title}, "metadata": {}}
    picture = panel.get("lab-picture", data.get("image/png"))
    if film:
        yield output | {"data": {"text/html": film}, "metadata": {}}
    elif picture and model not in panels:
        words = f"{title}. {panel.get('lab-readout', '')}".strip()
        yield output | {"data": {"image/png": picture}, "metadata": {"image/png": {"alt": words}}}


def _answers(model: str, panel: dict[str, Any]) -> str:
    """A panel as it is before the page's script gives it controls."""
    start = [dial["start"] for dial in panel["dials"]]
    number, words = next(state[1:3] for state in panel["states"] if state[0] == start)
    width, height, css, data = panel["pictures"][number]
    stored, more = panel["stored"]
    texts = {"title": panel["title"], "words": words, "stored": stored, "more": more}
    return ANSWERS.format(
        model=model, width=width, height=height, css=css, data=data,
        wide=" lab-wide" if panel["wide"] else "",
        **{key: html.escape(text) for key, text in texts.items()},
    )  # fmt: skip


def _panel(model: str, notebook: Notebook) -> dict[str, str]:
    """A panel at the notebook's end: its title and readout in words, its picture in base64, and
    its film, where it plays one, as HTML."""
    states = notebook["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
    waiting, parts = [model], dict[str, str]()
    while waiting:
        widget = states.get(waiting.pop(0), {})
        state = widget.get("state", {})
        value, classes = str(state.get("value", "")), state.get("_dom_classes", ())
        if 'class="lab-title"' in value:
            parts["lab-title"] = _words(value)
        if "lab-readout" in classes and value:
            parts["lab-readout"] = _words(value)
        if "lab-film" in classes and value:
            parts["lab-film"] = value
        if "lab-picture" in classes and widget.get("buffers"):
            parts["lab-picture"] = widget["buffers"][0]["data"]
        waiting += [child.removeprefix("IPY_MODEL_") for child in state.get("children", [])]
    return parts


def _words(page: str) -> str:
    """What a reader sees of a bit of HTML."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL)).strip()


def _page_links(name: str, titles: Mapping[str, str]) -> str:
    """Links to the page before, to all, to the page after."""
    names = list(titles)
    place = names.index(name)
    before = names[place - 1] if place else None
    after = names[place + 1] if place + 1 < len(names) else None
    words = [_link(before, titles, "← "), "<a href='index.html'>All labs</a>"]
    return f"<nav>{''.join([*words, _link(after, titles, '', ' →')])}</nav>"


def _link(name: str | None, titles: Mapping[str, str], before: str, after: str = "") -> str:
    if name is None:
        return "<span></span>"
    return f"<a href='{name}.html'>{before}{html.escape(titles[name])}{after}</a>"


def _with_page_links(body: str, titles: Mapping[str, str]) -> str:
    """Links between notebooks lead from page to page; to a lab that is no page, they are words."""

    def replaced(match: re.Match[str]) -> str:
        name, rest, words = match[1], match[2], match[3]
        return f'<a href="{name}.html{rest}">{words}</a>' if name in titles else words

    return re.sub(r'<a href="(\w+)\.(?:ipynb|md)([^"]*)">(.*?)</a>', replaced, body)
