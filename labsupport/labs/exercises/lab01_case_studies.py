"""Lab 01: sizes and costs of convolutions; and its questions."""

import torch

from labsupport.ui.checking import Case, Cases, Exercise, Question, Right


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


EXERCISES = (OUTPUT_SIDE, COSTS)

QUESTIONS = {
    "01.q1": Question(
        "AlexNet: its fully connected layers hold 96 % of the parameters. How much of the work "
        "do they do?",
        ("nearly all of it", "about half", Right("about 8 %")),
        why="Each of their weights is used once; a convolution's is used at every position.",
    ),
    "01.q2": Question(
        "VGG-16 has 16 layers with weights, ResNet-50 has 50. Which one multiplies more?",
        (Right("VGG-16"), "ResNet-50", "both about the same"),
        why="Nearly four times as much: it runs wide convolutions over large maps. ResNet-50 makes "
        "the map small at once, and its 3 × 3 kernels work on few channels.",
    ),
    "01.q3": Question(
        "The pixels of all digits are shuffled, each image in the same way. Which network "
        "reads worse now?",
        (Right("LeNet-5"), "the fully connected one", "both", "neither"),
        why="LeNet-5 takes for granted that neighboring pixels belong together. The fully "
        "connected network never knew which pixels are neighbors.",
    ),
    "01.q4": Question(
        "The scene has a hot-air balloon. Where is the class map of *balloon* highest?",
        ("at the colorful stripes", "along the round outline", Right("around the basket")),
        why="Many things are striped or round. A basket under a cone is rarer.",
    ),
}
