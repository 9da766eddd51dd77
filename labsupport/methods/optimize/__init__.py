"""Optimize the image: the one engine behind class images, units, inversion, dreams and styles.

Simonyan, Vedaldi and Zisserman 2013 ("Deep inside convolutional networks") start from the zero
image and follow the gradient of a class's score. Everything in this lecture that optimizes an
image is that loop, with other parts in it:

    for frame in ascend(network, "goldfish"):                    # a class
    for frame in ascend(network, ("fire5", 12)):                 # a channel
    for frame in ascend(network, ("fire5", 12, (13, 13))):       # one neuron
    for frame in ascend(network, ["lemon", "goose"]):            # a batch, a target for each
    for frame in ascend(network, ("fire8", 3), seed=(0, 1, 2)):  # a batch, a seed for each
    last = visualize(network, "goldfish", steps=60)              # the last frame alone

- **Objectives** say what is raised: a target as above or a `TargetValue`, a class's `LogOdds`, a
  `Direction`, a layer's `Energy`, a `CodeDistance` or `GramDistance` (which are lowered), and sums:
  `a + 0.1 * b`.
- A **recipe** says how: `Recipe(start, canvas, transforms, regularizers, step, steps)`. `CLEAR` is
  ours, `SIMONYAN` and the four of `YOSINSKI` are the papers'; `dataclasses.replace` varies one.
    - start: "zeros" (behind the normalization: the network's mean colour; also called "mean"),
      "grey", "black", "noise", an image, or a frame to continue from
    - canvas: `Pixels()`, `Fourier()`
    - transforms: `Jitter`, `Crop`, `Scale`, `Rotate`
    - regularizers: penalties `L2`, `TotalVariation`, `AlphaNorm`, `Range`; corrections after each
      step `Decay`, `Blur`, `ClipNorm`, `ClipContribution`
    - step: `Plain`, `Normalized`, `Momentum`, `Adam`, `LBFGS`
- A **frame** is a picture on the way, with its loss terms, score and probability.

A step costs one forward pass, no further than the deepest layer asked about, and one backward
pass without any parameter's gradient."""

from labsupport.methods.optimize.ascent import (
    CLEAR,
    L2,
    LBFGS,
    LOG_PROBABILITIES,
    SCORES,
    SIMONYAN,
    STARTS,
    YOSINSKI,
    Adam,
    AlphaNorm,
    Blur,
    Canvas,
    ClipContribution,
    ClipNorm,
    CodeDistance,
    Correction,
    Crop,
    Decay,
    Direction,
    Energy,
    Fourier,
    Frame,
    GramDistance,
    Jitter,
    LogOdds,
    Moment,
    Momentum,
    Normalized,
    Objective,
    Penalty,
    Pixels,
    Plain,
    Range,
    Recipe,
    Regularizer,
    Rotate,
    Scale,
    Slope,
    StepRule,
    Sum,
    TargetValue,
    Term,
    Terms,
    TotalVariation,
    Transform,
    ascend,
    gram,
    read,
    visualize,
)
