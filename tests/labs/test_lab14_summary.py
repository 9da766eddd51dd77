"""Every method answers one question, or says why it cannot; a report keeps the answers."""

import re

import pytest
import torch
import toys
from PIL import Image
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, UnknownLayer
from labsupport.core.network import own
from labsupport.labs import lab14_summary as lab
from labsupport.ui import ink

SIZE = 40


def small_network(*, seed: int = 0) -> networks.Network:
    def layers():
        wide, narrow = nn.Conv2d(3, 8, 5, stride=2), nn.Conv2d(8, 6, 3)
        return [wide, nn.ReLU(), nn.MaxPool2d(2), narrow, nn.ReLU()]

    names = ["ant", "bee", "cat", "dog"]
    return toys.chain(layers, 4, seed, categories=names, input_size=SIZE)


@pytest.fixture(scope="module")
def network() -> networks.Network:
    return small_network()


@pytest.fixture(scope="module")
def examples() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.rand(14, 3, SIZE, SIZE, generator=generator).split(1))


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return images.resize(images.sample("koala"), SIZE, crop=SIZE)


@pytest.fixture(scope="module")
def sheets(network, image, examples) -> list[lab.AnswerSheet]:
    return list(lab.ask.frames(network, image, "bee", examples=examples))


def answer(sheet: lab.AnswerSheet, title: str) -> lab.Answer:
    (only,) = [one for one in sheet.answers if one.title == title]
    return only


def test_all_methods_answer_in_the_order_of_the_labs_and_say_what_was_asked(sheets):
    titles = [one.title for one in sheets[-1].answers]
    assert titles == [method.title for method in lab.METHODS]
    assert [one.lab for one in sheets[-1].answers] == sorted(one.lab for one in lab.METHODS)
    assert all(one.picture is not None for one in sheets[-1].answers)
    shares = [one.progress for one in sheets]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for one in sheets[-1].answers:
        assert one.settings["network"] == "Sequential"
        assert one.settings["target"] == "bee"
        assert len(one.words) > 20
    assert "whatever is asked." in answer(sheets[-1], "filters").words
    sizes = {lab.sheet_picture(one).size for one in (sheets[0], sheets[7], sheets[-1])}
    assert len(sizes) == 1


def test_without_a_target_the_own_answer_is_asked_about_and_a_wrong_one_is_refused_at_once(
    network, image, examples
):
    first = next(iter(lab.ask.frames(network, image, examples=examples)))
    assert first.query.target.title == network.predict(image, k=1)[0][0].name
    with pytest.raises(UnknownLayer):
        lab.ask(network, image, ("no such layer", 0))


def test_a_unit_is_asked_about_by_the_methods_that_know_units(network, image, examples):
    # one example is built so that channel 5 answers to it most: it has to be the first patch
    layer = "4"
    maps = torch.cat([network.activations(one, [layer])[layer] for one in examples])
    best = int(maps[:, 5].flatten(1).amax(1).argmax())
    last = lab.ask(network, image, (layer, 5), examples=examples, methods=lab.METHODS[1:2])
    (only,) = last.answers
    assert "parts" in only.words
    scan = lab.top_patches(network, layer, examples, channels=[5], suppress="picture")
    assert int(scan.images[0, 0]) == best
    together = lab._regions(last.query, scan)
    shown = lab.figures.mosaic(together, columns=3, gap=2)
    assert only.picture.tobytes() == shown.tobytes()


def test_the_picture_is_not_its_own_neighbour(network, examples):
    methods = [one for one in lab.METHODS if one.title == "neighbors"]
    last = lab.ask(network, examples[3], 0, examples=examples[:8], methods=methods)
    (only,) = last.answers
    own = lab.figures.fitted(examples[3], lab.SIDE // 3)
    alone = lab.figures.mosaic([own], gap=2)
    first = only.picture.crop((0, 0, *alone.size))
    assert first.tobytes() != alone.tobytes()
    assert only.picture.height > 2 * own.height  # seven others, in three rows


def test_what_cannot_be_answered_is_said_and_the_others_go_on(image, examples):
    torch.manual_seed(2)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 6), nn.Tanh(), nn.Linear(6, 4))
    flat = networks.wrap(module, categories=list("abcd"), input_size=SIZE)
    last = lab.ask(flat, image, 1, examples=examples)
    assert len(last.answers) == len(lab.METHODS)
    assert "no convolution" in answer(last, "filters").words
    assert answer(last, "filters").picture is None
    assert "no ReLU" in answer(last, "three rules").words
    assert answer(last, "adversarial twin").picture is not None
    asked, told = lab.sheet_picture(lab.AnswerSheet(last.query, (), 0)), lab.sheet_picture(last)
    assert told.size == asked.size
    third = (2 * (lab.SIDE + 16), 22, 3 * lab.SIDE + 32, 22 + lab.SIDE)  # the tile of the filters
    question, reason = (sheet.crop(third).tobytes() for sheet in (asked, told))
    assert len({question, reason, bytes(ink.PAPER) * lab.SIDE**2}) == 3


def test_digits_are_shown_to_a_network_that_reads_digits():
    reader = networks.load("lenet5")
    known = lab.examples_for(reader)
    assert {tuple(one.shape) for one in known} == {(1, 3, 28, 28)}
    photos = lab.examples_for(networks.load())
    assert {tuple(one.shape) for one in photos} == {(1, 3, 224, 224)}


def test_the_same_question_has_the_same_answers(sheets, network, image, examples):
    again = lab.ask(network, image, "bee", examples=examples)
    for one, other in zip(sheets[-1].answers, again.answers, strict=True):
        assert one.words == other.words
        assert one.picture.tobytes() == other.picture.tobytes(), one.title


# The report


def test_the_report_has_every_answer_and_needs_nothing_else(sheets, tmp_path):
    page, sheet = lab.report(sheets[-1], tmp_path / "mine")
    text = page.read_text(encoding="utf-8")
    assert text.count("<section>") == len(lab.METHODS)
    assert text.count("data:image/png;base64,") == len(lab.METHODS)
    assert not re.search(r"<(script|link)\b|https?:", text)
    assert all(len(alt) > 20 for alt in re.findall(r'alt="([^"]*)"', text))
    assert "target: bee" in text
    with Image.open(sheet) as picture:
        assert picture.size == lab.sheet_picture(sheets[-1]).size
    assert sorted(one.name for one in page.parent.iterdir()) == ["report.html", "report.png"]


def test_words_from_a_network_cannot_become_markup(sheets, tmp_path):
    evil = lab.Answer("a <b>", "05", "<script>alert(1)</script>", None, {"x": "<i>"})
    page, _ = lab.report(lab.AnswerSheet(sheets[-1].query, (evil,), 1.0), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "<i>" not in text


def test_a_report_that_cannot_be_written_leaves_the_one_before(sheets, tmp_path, monkeypatch):
    page, sheet = lab.report(sheets[0], tmp_path)
    before = page.read_bytes(), sheet.read_bytes()

    def full(self, content):
        if content.startswith(b"\x89PNG"):
            raise OSError(28, "No space left on device")
        return plain(self, content)

    plain = type(page).write_bytes
    monkeypatch.setattr(type(page), "write_bytes", full)
    with pytest.raises(BadSetting, match=r"report\.png cannot be written: No space left"):
        lab.report(sheets[-1], tmp_path)
    assert (page.read_bytes(), sheet.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


# The panel


def test_the_panel_asks_with_its_controls(opened, monkeypatch):
    monkeypatch.setattr(own, "_registered", {"mine": (small_network(seed=3), None)})
    panel = opened(lab.everything_panel("koala", network="mine"))
    assert panel.frame.answers[0].title == "the picture"
    panel.controls["of"].source.value = "unit"
    panel.run(limit=1)
    layer = panel.controls["layer"].words
    assert panel.frame.query.target.title.startswith(layer)
    panel.controls["of"].source.value = "class"
    panel.controls["target"].source.value = "dog"
    panel.run(limit=1)
    assert panel.frame.query.target.title == "dog"
