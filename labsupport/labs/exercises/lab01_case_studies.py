"""Lab 01: sizes, costs and receptive fields of convolutions; and its questions."""

from collections.abc import Sequence

import torch

from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _output_side(side: int, kernel: int, stride: int, padding: int) -> int:
    return len(range(0, side + 2 * padding - kernel + 1, stride))


def _windows() -> Cases:
    return [
        Case("no padding, stride 1", 6, 3, 1, 0, expected=4),
        Case("LeNet-5's conv1", 28, 5, 1, 2, expected=28),
        Case("AlexNet's conv1", 227, 11, 4, 0, expected=55),
        Case("a window that does not fit a last time", 112, 3, 2, 0, expected=55),
        Case("ResNet's conv1", 224, 7, 2, 3),
    ]


OUTPUT_SIDE = Exercise(
    id="01.1",
    title="How large is the map?",
    minutes=5,
    reference=_output_side,
    cases=_windows,
    hints=(
        "With padding on both sides the input is `side + 2 * padding` pixels long.",
        "The first window starts at 0, the last one at `side + 2 * padding - kernel` or before.",
        "`//` rounds down: so many steps fit in, and the first window makes one more.",
    ),
    mistakes={
        "the first window is missing: so many steps make one position more.": (
            lambda side, kernel, stride, padding: (side + 2 * padding - kernel) // stride
        ),
        "padding is added once; it is there on both sides.": (
            lambda side, kernel, stride, padding: (side + padding - kernel) // stride + 1
        ),
        "it is rounded up: a window that does not fit in is left out.": (
            lambda side, kernel, stride, padding: -(-(side + 2 * padding - kernel) // stride) + 1
        ),
        "the kernel is not subtracted.": (
            lambda side, _kernel, stride, padding: (side + 2 * padding) // stride
        ),
        "a fraction is left; a map has a whole number of positions (`//`).": (
            lambda side, kernel, stride, padding: (side + 2 * padding - kernel) / stride + 1
        ),
    },
)


def _costs(before: int, after: int, kernel: int, side: int) -> tuple[int, int]:
    layer = torch.nn.Conv2d(before, after, kernel, device="meta")
    parameters = sum(weights.numel() for weights in layer.parameters())
    return parameters, layer.weight.numel() * side * side


def _convolutions() -> Cases:
    return [
        Case("one channel to one, 1 x 1", 1, 1, 1, 2, expected=(2, 4)),
        Case("LeNet-5's conv1", 1, 6, 5, 28, expected=(156, 117_600)),
        Case("LeNet-5's conv2", 6, 16, 5, 10),
        Case("VGG's conv1_2", 64, 64, 3, 224),
    ]


COSTS = Exercise(
    id="01.2",
    title="What a convolution costs",
    minutes=8,
    reference=_costs,
    cases=_convolutions,
    hints=(
        "An output channel has a kernel for every input channel: before * kernel * kernel numbers.",
        "Each output channel has one bias besides; it is a parameter.",
        "Every weight is used once at each of the `side * side` positions of the output.",
    ),
    mistakes={
        "the biases are missing among the parameters.": (
            lambda before, after, kernel, side: (
                before * after * kernel**2,
                before * after * kernel**2 * side**2,
            )
        ),
        "a bias is added, not multiplied: it is no multiply-add.": (
            lambda before, after, kernel, side: (
                after * (before * kernel**2 + 1),
                after * (before * kernel**2 + 1) * side**2,
            )
        ),
        "the kernel has one layer only; it needs one for each input channel.": (
            lambda _before, after, kernel, side: (
                after * (kernel**2 + 1),
                after * kernel**2 * side**2,
            )
        ),
        "there is one bias for each pair of channels; there is one for each output channel.": (
            lambda before, after, kernel, side: (
                before * after * (kernel**2 + 1),
                before * after * kernel**2 * side**2,
            )
        ),
        "the work is done once and not at every position.": (
            lambda before, after, kernel, _output_side: (
                after * (before * kernel**2 + 1),
                before * after * kernel**2,
            )
        ),
    },
)


def _receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    field = 1
    for kernel, stride in reversed(layers):
        field = (field - 1) * stride + kernel
    return field


def _stacks() -> Cases:
    alexnet = [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2)]
    return [
        Case("one layer", [(5, 1)], expected=5),
        Case("two of 3 x 3", [(3, 1), (3, 1)], expected=5),
        Case("a pool between", [(3, 1), (2, 2), (3, 1)], expected=8),
        Case("AlexNet up to pool5", alexnet, expected=195),
        Case("LeNet-5 up to conv2", [(5, 1), (2, 2), (5, 1)]),
    ]


def _order_does_not_matter(function: Function) -> str | None:
    if function([(3, 2), (5, 1)]) != function([(5, 1), (3, 2)]):
        return None
    return "a stride before a convolution and after it give the same field."


RECEPTIVE_FIELD = Exercise(
    id="01.3",
    title="How far does a neuron see?",
    minutes=10,
    reference=_receptive_field,
    cases=_stacks,
    hints=(
        "Keep two numbers: the field, 1 at first, and the step between neighbours, 1 at first.",
        "A kernel of k reads k neighbours, which lie `step` pixels apart: k - 1 steps are added.",
        "Then the stride makes the step longer: for the layers that follow, not for this one.",
    ),
    mistakes={
        "the strides are forgotten: after a stride neighbours lie further apart.": (
            lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers)
        ),
        "k steps are added for a kernel of k; k neighbours are k - 1 steps apart.": (
            lambda layers: _walk(layers, extra=1)
        ),
        "a layer's own stride counts for itself; it counts from the next layer on.": (
            lambda layers: _walk(layers, own=True)
        ),
        "the kernels are added: beyond the first, each adds only k - 1 steps.": (
            lambda layers: sum(kernel for kernel, _ in layers)
        ),
        "the kernels are multiplied.": (
            lambda layers: int(torch.tensor([kernel for kernel, _ in layers]).prod())
        ),
    },
    laws={"A stride counts for what comes after it.": _order_does_not_matter},
)


def _walk(layers: Sequence[tuple[int, int]], *, extra: int = 0, own: bool = False) -> int:
    field = step = 1
    for kernel, stride in layers:
        field += (kernel - 1 + extra) * (step * stride if own else step)
        step *= stride
    return field


EXERCISES = (OUTPUT_SIDE, COSTS, RECEPTIVE_FIELD)

QUESTIONS = {
    "01.q1": Question(
        "LeNet-5 as written today has 61 706 parameters. Where are most of them?",
        ("in conv1, which reads the image", "in conv2", Right("in fc1, which reads the last maps")),
        why="It reads all 16 maps of 5 × 5 with weights of their own: 400 · 120 numbers, 78 %.",
    ),
    "01.q2": Question(
        "AlexNet: its fully connected layers hold 96 % of the parameters. How much of the work "
        "do they do?",
        ("nearly all of it", "about half", Right("about 8 %")),
        why="Each of their weights is used once; a convolution's is used at every position.",
    ),
    "01.q3": Question(
        "VGG-16 has 16 layers with weights, ResNet-50 has 50. Which one multiplies more?",
        (Right("VGG-16"), "ResNet-50", "both about the same"),
        why="Nearly four times as much: it runs wide convolutions over large maps. ResNet-50 makes "
        "the map small at once, and its 3 × 3 kernels work on few channels.",
    ),
    "01.q4": Question(
        "The pixels of all digits are shuffled, each image in the same way. Which network "
        "reads worse now?",
        (Right("LeNet-5"), "the fully connected one", "both", "neither"),
        why="It takes for granted that neighbouring pixels belong together. The other one never "
        "knew which pixels are neighbours.",
    ),
    "01.q5": Question(
        "At which part of the picture of a hot-air balloon does the network see *balloon* most?",
        (
            "at the colourful stripes",
            "at the round outline",
            Right("at the basket and the neck above it"),
        ),
        why="Stripes and round things are everywhere; nothing else has a basket under a cone.",
    ),
}
