"""Optimize the image: the one engine behind class images, units, inversion, dreams and styles.

Simonyan, Vedaldi and Zisserman 2013 ("Deep inside convolutional networks") start from the zero
image and follow the gradient of a class's score. Everything in this lecture that optimizes an
image is that loop, with other parts in it:

    visualize(network, "goldfish", steps=60)           # a class: the last frame
    visualize(network, ("fire5", 12))                  # a channel
    visualize(network, ("fire5", 12, (13, 13)))        # one neuron
    visualize(network, ["lemon", "goose"])             # a batch, a target for each
    visualize(network, ("fire8", 3), seed=(0, 1, 2))   # a batch, a seed for each
    for frame in visualize.frames(network, "goose"):   # frames while it works

- **Objectives** say what is raised: a target as above or a `TargetValue`, a class's `LogOdds`, a
  `Direction`, a layer's `Energy`, a `CodeDistance` or `GramDistance` (which are lowered), and sums:
  `a + 0.1 * b`.
- A **recipe** says how: `Recipe(name, start, parameterization, transforms, regularizers,
  optimizer, steps)`. `CLEAR` and `COARSE` are ours, `SIMONYAN`, the four of `YOSINSKI` and
  `MACO` are the papers'; `dataclasses.replace` varies one.
    - start: "zeros" (after the normalization: the network's mean colour; also called "mean"),
      "grey", "black", "noise", an image, or a frame to continue from
    - parameterization: `Pixels()`, `Fourier()`, `Phase()`
    - transforms: `Jitter`, `Crop`, `Scale`, `Zoom`, `Rotate`, `CoarseToFine`, `Noise`
    - regularizers: penalties `L2`, `TotalVariation`, `AlphaNorm`, `Range`; corrections after each
      step `Decay`, `Blur`, `ClipNorm`, `ClipContribution`
    - optimizer: `Plain`, `Normalized`, `Momentum`, `Adam`, `LBFGS`
- A **frame** is a picture on the way, with its loss terms, score and probability, and a `mask` of
  the pixels that have mattered.

A step costs one forward pass, no further than the deepest layer asked about, and one backward
pass without any parameter's gradient.
"""

from labsupport.core import modes
from labsupport.methods.optimize.distances import CodeDistance, GramDistance, gram
from labsupport.methods.optimize.loop import (
    CLEAR,
    COARSE,
    MACO,
    SIMONYAN,
    STARTS,
    YOSINSKI,
    Frame,
    Recipe,
)
from labsupport.methods.optimize.objectives import (
    LOG_PROBABILITIES,
    SCORES,
    Direction,
    Energy,
    LogOdds,
    Objective,
    Sum,
    TargetValue,
    Term,
    Terms,
)
from labsupport.methods.optimize.optimizers import (
    LBFGS,
    Adam,
    Gradient,
    Momentum,
    Normalized,
    Optimizer,
    Plain,
)
from labsupport.methods.optimize.parameterization import Fourier, Parameterization, Phase, Pixels
from labsupport.methods.optimize.regularizers import (
    L2,
    AlphaNorm,
    Blur,
    ClipContribution,
    ClipNorm,
    Correction,
    Decay,
    Penalty,
    Range,
    Regularizer,
    TotalVariation,
)
from labsupport.methods.optimize.transforms import (
    CoarseToFine,
    Crop,
    Jitter,
    Noise,
    Rotate,
    Scale,
    Step,
    Transform,
    Zoom,
)
from labsupport.methods.optimize.visualization import visualize

modes.keep(__name__)
