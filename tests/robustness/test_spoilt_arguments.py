"""Every public method, called as the laws' table calls it, with one argument spoilt: refused in
words of our own, or a right answer, but never another exception, a NaN or silence.

The table's calls are recorded; then each argument in turn takes each value that `spoiling` has
for its kind. A second part lets Hypothesis choose networks, picture sizes and targets.
"""

import functools
import inspect
import itertools
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import spoiling
import torch
import toys
from cases import CASES, Case, recorded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import PHASES, build, networks_
from spoiling import SIZE, tiny

from labsupport.core import network as networks
from labsupport.core.errors import LabError
from labsupport.core.network import Network
from labsupport.core.streams import ScaledImages

pytestmark = pytest.mark.usefixtures("one_thread")
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
IMAGE_NAMES = {"image", "images", "picture", "pictures", "photo", "start", "changed"}
TARGET_NAMES = {"target", "unit", "wanted"}

# What a method takes although it looks spoilt, and numbers that are said to be missing: each line
# needs its reason.
TAKEN: dict[tuple[str, str], set[str]] = {
    # nothing: the recipe says how to begin
    ("optimize.visualize", "start"): {"nothing"},
    # nothing: the first convolution
    ("weights.filters", "layer"): {"nothing"},
    # nothing: the last convolution with maps on the way to the target
    ("backprop.grad_cam", "layer"): {"nothing"},
    # nothing: the last convolution that leads straight back to the pixels
    ("weights.effective_filter", "layer"): {"nothing"},
    # nothing: the layer of codes
    ("codes.codes", "layer"): {"nothing"},
    # no pictures at a size are no pictures
    ("patches.several_scales", "images"): {"an empty batch"},
    # nothing: any class but the image's own
    ("fooling.fgsm", "target"): {"nothing"},
    ("fooling.pgd", "target"): {"nothing"},
    ("fooling.sign_line", "target"): {"nothing"},
    # nothing: the class that comes second
    ("fooling.minimal_perturbation", "target"): {"nothing"},
}
MISSING: dict[str, str] = {
    "activations.mosaic": "NaN between the tiles, and where no tile is",
    "activations.correlation": "NaN where all numbers of a row are equal",
    "activations.similarity": "as correlation",
    "activations.unit_views": "the top patches as patches.top_patches",
    "patches.top_patches": "NaN where a unit has fewer patches than k",
    "patches.merge": "as top_patches",
    "patches.scan": "as top_patches",
    "codes.embed": "the cost is NaN without t-SNE, or before its first step",
    "linear.step_to_boundary": "infinite where no step within the bounds does it",
    "linear.minimal_strength": "infinite where no strength is enough",
    "linear.strength_matrix": "NaN on the diagonal, infinite where no strength is enough",
}


def spoilers(name: str, value: object) -> tuple[dict[str, spoiling.Spoil], bool]:
    """The ways to spoil an argument, and whether each of them has to be refused."""
    if spoiling.is_image(value) and name in IMAGE_NAMES:
        return spoiling.IMAGES, True
    if isinstance(value, torch.Tensor):
        return spoiling.NUMBERS, False
    if name == "layer":
        return spoiling.LAYERS, True
    if name in TARGET_NAMES:
        return spoiling.TARGETS, True
    return spoiling.of_knob(value), False


def spoilt(case: Case) -> Iterator[tuple[str, Any, inspect.BoundArguments, bool]]:
    """Each spoilt call: what is spoilt in words, the method, its arguments, must it refuse."""
    with recorded(case) as recorder:
        case.call(tiny(), toys.image(*SIZE), 3)
    method, bound = recorder.method, recorder.calls[0]
    bound.apply_defaults()
    for name, value in list(bound.arguments.items()):
        if inspect.signature(method).parameters[name].kind in (2, 4):  # *these or **those
            continue
        ways, refused = spoilers(name, value)
        for kind, spoil in ways.items():
            taken = kind in TAKEN.get((case.name, name), ())
            try:
                bound.arguments[name] = spoil(value)
            except (TypeError, RuntimeError, IndexError):
                continue  # this value cannot be spoilt in this way
            yield f"{name}: {kind}", method, bound, refused and not taken
        bound.arguments[name] = value


def answer(method: Any, bound: inspect.BoundArguments) -> object:
    """What a method gives; of frames the first three."""
    found = method(*bound.args, **bound.kwargs)
    if isinstance(found, ScaledImages):  # each is looked at when it is asked for
        return list(found)
    if not inspect.isgenerator(found):
        return found
    try:
        return list(itertools.islice(found, 3))
    finally:
        found.close()


def fault_of(name: str, method: Any, bound: inspect.BoundArguments, refused: bool) -> str:
    """How a call breaks the contract; "" where it keeps it."""
    try:
        found = answer(method, bound)
    except LabError as error:
        return "" if len(str(error)) > 20 else f"says only {str(error)!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if refused:
        return "is accepted"
    return "" if name in MISSING else spoiling.flaw(found)


_spoilt: dict[str, list[str]] = {}  # of each method, what was looked at in this process


@each_case
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_spoilt_argument_is_refused_in_our_own_words(case):
    faults = []
    _spoilt[case.name] = []
    for words, method, bound, refused in spoilt(case):
        _spoilt[case.name].append(words)
        fault = fault_of(case.name, method, bound, refused)
        if fault:
            faults.append(f"{case.name}({words}) {fault}")
    assert faults == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_there_are_thousands_of_spoilt_calls_for_images_targets_and_numbers(measured):
    """Another process may have looked at some methods: their calls are counted here."""
    for case in CASES:
        if case.name not in _spoilt:
            _spoilt[case.name] = [words for words, *_ in spoilt(case)]
    count = sum(map(len, _spoilt.values()))
    measured(f"spoilt arguments: {count} calls of {len(_spoilt)} methods")
    assert count >= 2000
    kinds = {"image: NaN", "target: nothing", "seed: zero"}
    assert kinds <= {*_spoilt["backprop.cascading_randomization"]}


# Networks, sizes and targets that chance has put together

sides = st.one_of(
    st.integers(1, 20), st.integers(21, 80), st.sampled_from([97, 128, 224, 299, 300])
)
picture_sizes = st.tuples(sides, sides).filter(lambda size: size[0] * size[1] <= 16_000)
targets = st.one_of(
    st.integers(-1, 5),
    st.sampled_from(["class 2", "no such class", ("stem", 1), ("stem", 0, (0, 0)), None, 1.5, ()]),
    st.tuples(st.sampled_from(["stem", "body", "head", "conv9"]), st.integers(-1, 4)),
    st.tuples(
        st.just("stem"), st.integers(0, 3), st.tuples(st.integers(-1, 90), st.integers(0, 90))
    ),
)


@functools.cache
def chance_networks() -> tuple[Network, ...]:
    """Sixteen networks of those that the incremental tests draw."""
    found: list[Network] = []

    @settings(max_examples=40, database=None, phases=PHASES, derandomize=True)
    @given(spec=networks_)
    def draw(spec):
        module = build(spec, SIZE)
        if module is not None and len(found) < 16:
            found.append(networks.wrap(module, input_size=SIZE, name=f"network {len(found)}"))

    draw()
    return tuple(found)


@each_case
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=5, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.slow
def test_any_network_and_any_size_give_numbers_or_our_own_words(case, data):
    network = data.draw(st.sampled_from(chance_networks()))
    height, width = data.draw(st.one_of(st.just(SIZE), picture_sizes))
    target = data.draw(targets)
    image = toys.image(height, width, count=data.draw(st.sampled_from([1, 1, 1, 2])))
    try:
        found = case.call(network, image, target)
    except LabError:
        return
    except Exception as error:
        if any("labsupport" in one.filename for one in traceback.extract_tb(error.__traceback__)):
            raise
        return  # it comes from the table's own code
    assert case.name in MISSING or spoiling.flaw(dict(found)) == ""


# The guard can fail


def in_our_words(image: torch.Tensor) -> None:
    raise LabError("this picture is not what the method needs: load another")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lambda image: image.sum() / 0, "not finite"),
        (lambda image: image.no_such_thing, "AttributeError"),
        (lambda image: torch.ones(3), "is accepted"),
        (lambda image: [{"inside": (float("nan"),)}], "result.0.inside.0 is nan"),
        (lambda image: (one for one in [1 / 0]), "ZeroDivisionError"),
        (in_our_words, ""),
    ],
)
def test_a_breach_is_found_and_a_refusal_in_our_words_is_none(method, words):
    bound = inspect.signature(method).bind(toys.image(4))
    found = fault_of("a.case", method, bound, words in ("", "is accepted"))
    assert words in found if words else found == ""
