"""The lecture's sections, slide by slide, and the cells of the labs that run each of them.

A section has two lines: its number in the lecture and what the slides show; then the notebook,
after a question mark the cell that asks the lecturer's question where there is one, and the cells
that show it, the one to change first.
"""

from dataclasses import dataclass

TABLE = """
0.1 applications of ConvNets
    01_case_studies: warm-up-panel topic-5-panel
0.2 LeNet, AlexNet, ZFNet, VGG (columns D and E), GoogLeNet, ResNet
    01_case_studies: warm-up-panel topic-1-look vgg-by-hand accuracy-panel design-panel
0.3 classification, localization, detection, segmentation
    01_case_studies: topic-5-panel topic-5-picture
0.4 six ways to understand a ConvNet
    00_start_here: answer-panel topic-4
1.1 patches that maximally activate a unit, with receptive field and value
    02_patches: warm-up-panel six-rows naming-panel alexnet-by-hand
2.1 first-layer filters, like rotated Gabors
    03_weights: warm-up-panel topic-1-tool topic-2-gabors
2.2 higher layers' raw weights, in the ConvNetJS network
    03_weights ? q3: topic-4-panel topic-3-effective
3.1 the code of an image in front of the classifier
    04_representation: warm-up-panel codes-by-hand paper-check-numbers
3.2 t-SNE, and handwritten digits in the plane
    04_representation: map-panel digits-panel affinities-by-hand
3.3 Karpathy's image map by code
    04_representation: atlas-panel image-map seams-picture
4.1 occlusion: the class's probability by the square's position, three pictures
    05_occlusion: topic-2-panel topic-3-look
4.2 the Deep Visualization Toolbox: live activations, and one unit by deconv and by ascent
    06_activations: warm-up-panel topic-3-panel topic-2-panel topic-4-panel
5.1 one-hot gradient of any neuron, back to the image
    07_deconv ? q1: warm-up-panel topic-1-by-hand
5.2 three rules at a ReLU, with the small numeric example
    07_deconv: topic-2-panel small-by-hand topic-2-look
5.3 guided backprop of a unit's ten best patches, beside the crops
    07_deconv: warm-up-panel zeiler
5.4 arbitrary neurons, layer 1 to 5
    07_deconv: warm-up-panel zeiler
6.1 an image that maximizes a class's score, with L2
    08_optimization ? warm-up: warm-up-panel topic-1-by-hand
6.2 the five steps, from zeros
    08_optimization ? topic-1-question: warm-up-panel topic-1-by-hand topic-1-zero
6.3 class images of Simonyan et al.
    08_optimization: warm-up-panel topic-2-board topic-2-gallery
6.4 the data gradient as a heat map
    08_optimization ? topic-4-question: topic-4-panel topic-4-by-hand
6.5 GrabCut from that map
    08_optimization: topic-5-panel paper-check-numbers
6.6 any neuron, and Yosinski's regularizers
    08_optimization: topic-3-panel topic-2-board topic-3-layers
7.1 from a code back to the image, and what that means for privacy
    09_reconstruction ? warm-up: warm-up-panel topic-5-by-hand
7.2 Mahendran and Vedaldi's loss with an image prior
    09_reconstruction: warm-up-panel topic-1-by-hand topic-2-sweep
7.3 from log-probabilities, the last pooling layer and others; several of one code
    09_reconstruction: topic-1-panel topic-3-panel topic-3-by-hand topic-2-starts
8.1 the gradient is the activation; jitter, normalized step, clip; the loop as code
    10_deepdream: warm-up-panel topic-1-by-hand
8.2 a feedback loop, at any layer
    10_deepdream: topic-3-panel topic-3-sheet topic-3-by-hand
8.3 a dreamed film
    10_deepdream: topic-4-zoom topic-4-film
9.1 content, Gram matrices, and their weighted sum with total variation
    11_style: warm-up-panel topic-3-panel content-by-hand gram-by-hand loop-by-hand
10.1 an imperceptible perturbation, another label
    12_fooling ? warm-up: warm-up-panel topic-1-panel
10.2 unrecognizable images at high confidence, irregular and regular
    12_fooling: evolution-panel kinds-picture
10.3 different images, the same HOG
    12_fooling: twins-panel
10.4 the networks' linear nature
    12_fooling ? topic-2-question: topic-2-panel plane-by-hand
10.5 ten numbers and a step, from -3 to 2
    13_linear_classifiers ? warm-up: warm-up-panel slide-by-hand topic-2-panel
10.6 templates, and a little of another class's weights
    13_linear_classifiers: topic-4-panel topic-3-panel mix-by-hand
11.1 what backpropagation to the image serves
    14_summary: everything-panel uses-by-hand report
"""


@dataclass(frozen=True)
class Row:
    """One group of slides, and where it runs."""

    number: str
    notebook: str
    cells: list[str]
    question: str  # the cell that asks it; "" where none does

    @classmethod
    def of(cls, shown: str, place: str) -> "Row":
        """The row of a section's two lines."""
        where, _, cells = place.strip().partition(": ")
        notebook, _, question = where.partition(" ? ")
        return cls(shown.split()[0], notebook, cells.split(), question)


_lines = TABLE.strip().splitlines()
ROWS = tuple(map(Row.of, _lines[::2], _lines[1::2]))
