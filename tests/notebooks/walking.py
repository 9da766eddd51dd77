"""Walks every panel of a notebook after its last cell, in the notebook's own kernel.

`test_execution.py` puts `record()` before a notebook's cells and `walk_all(...)` behind them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from leftovers import grown, once

from labsupport.ui.board import Board
from labsupport.ui.walks import WalkFailed, walk

# (notebook, panel's title): controls that may change nothing at the others' default setting,
# and controls whose values may bring up a message. Each line needs its reason.
MAY_IDLE: dict[tuple[str, str], tuple[str, ...]] = {
    # at the first zoom the whole map is there: nothing to move over
    ("04_representation", "Atlas"): ("across", "down"),
    # the plain gradient, which is the default, has no noisy copies
    ("08_optimization", "Saliency map"): ("noise",),
    # a second layer counts as soon as it has a share, which is none by default
    ("10_deepdream", "Dream"): ("second",),
    # the painting begins at the content: there is no noise, and no distance to it at first
    ("11_style", "Painting"): ("seed",),
    ("11_style", "Layers and weights"): ("alpha",),
    # without a defence, which is the default, there is nothing to be harsh with
    ("12_fooling", "Push a picture"): ("harsh",),
    # HOG, by which pictures are described by default, asks no network
    ("12_fooling", "Twins by description"): ("network",),
    # a layer and a channel count when a unit is asked about, and a class is the default
    ("14_summary", "Every method, one question"): ("layer", "channel"),
}
MAY_COMPLAIN: dict[tuple[str, str], tuple[str, ...]] = {
    # a network that ends before its classes does not know the class that the notebook begins with
    ("08_optimization", "An image for a class"): ("network",),
    # where the image is used up before the last layer: the message is what it is there for
    ("01_case_studies", "Build a network"): ("image", "depth"),
}

# What is walked with `test --all` alone: VGG-16 takes forty times as long as SqueezeNet.
HEAVY = () if os.environ.get("LABS_TESTS") == "all" else ("network = vgg16",)

made: list[Board] = []  # since `record()`, in order


def record() -> None:
    """Note every panel that is made from now on."""
    plain = Board.__init__

    def recording(self: Board, *arguments: object, **keywords: object) -> None:
        plain(self, *arguments, **keywords)  # type: ignore[arg-type]
        made.append(self)

    Board.__init__ = recording  # type: ignore[method-assign]


def walk_all(notebook: str, measured: Path) -> None:
    """Walk them; what it took is written to a file, and raised what is wrong with them."""
    panels = list(made)  # a panel may make others meanwhile
    faults = [] if panels else ["the notebook has no panel"]
    with measured.open("w", encoding="utf-8") as figures, unheard():
        for panel in panels:
            words, wrong = walked(notebook, panel)
            figures.write(words + "\n")
            faults += wrong
    if faults:
        raise AssertionError("\n".join(faults))


def walked(notebook: str, panel: Board) -> tuple[str, list[str]]:
    """A line on what one panel's walk took, and what is wrong with the panel, which is closed."""
    key = (notebook, panel.title)
    try:
        report = walk(
            panel,
            may_idle=MAY_IDLE.get(key, ()),
            may_complain=MAY_COMPLAIN.get(key, ()),
            leave_out=HEAVY,
        )
    except WalkFailed as error:
        return f"{notebook}, {panel.title}: failed", [str(error)]
    else:
        left = grown(lambda: once(panel))
    finally:
        panel.close()
    slowest = max(report.callbacks, key=lambda step: step.milliseconds)
    return (
        f"{notebook}, {panel.title}: {len(report.callbacks)} steps, slowest "
        f"{slowest.milliseconds:.0f} ms ({slowest.words})",
        [f"{panel.title}: from run to run there is more: {left}"] if left else [],
    )


@contextmanager
def unheard() -> Iterator[None]:
    """No page shows the panels: their pictures are not sent, or thousands would wait to be read."""
    from ipykernel.comm.comm import BaseComm

    def unsent(*message: object, **more: object) -> None:
        pass

    with mock.patch.object(BaseComm, "publish_msg", unsent):
        yield
