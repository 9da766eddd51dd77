"""What the page about networks of one's own says is so: its examples run, one after the other."""

import linecache
import re
import sys
from pathlib import Path

from labsupport.core import network as networks
from labsupport.core.network import own

PAGE = Path(__file__).parents[2] / "notebooks" / "own_network.md"


def test_its_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own, "_registered", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names: dict[str, object] = {"__name__": "example"}
    for part in parts:
        (code,) = re.findall(r"^```python\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
        title = part.split("\n", 1)[0]
        linecache.cache[title] = (len(code), None, code.splitlines(keepends=True), title)
        exec(compile(code, title, "exec"), names)
    assert own.examples_of(networks.load("mine")) is not None
    printed = capsys.readouterr().out
    for words in (
        "file (best.pth)",
        "'module.'",
        "['logits'] are the scores",
        "one logit z",
        "ends in a softmax",
        "x.std() > 2",
    ):
        assert words in printed, words
