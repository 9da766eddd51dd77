"""Style transfer: paint one picture in the manner of another.

Gatys, Ecker and Bethge, "Image style transfer using convolutional neural networks", CVPR 2016: an
image is optimized until its code at a *content* layer is that of one picture, and the Gram matrices
of its *style* layers, G = V^T V, are those of another,

    L = alpha * content + beta * style + total variation.

- `stylize` gives the picture, `stylize.frames` what it is on the way. A `StyleRecipe` says how:
  layers and their weights, alpha and beta, the colours, the pooling, the optimizer. `SQUEEZENET` is
  made for the bundled network, `GATYS` has the paper's layers of VGG; `recipe_for` finds one for a
  network.
- `reconstruct_content` and `reconstruct_style` keep one half of the loss.
- `content_losses` and `style_losses` measure a picture, layer by layer.
- `luminance`, `recolour` and `match_colours` are the two ways to keep a picture's own colours.
- `with_average_pooling` is the network with every max-pool replaced, on a graph of its own.
- `memory_needed` and `largest_size` say how large a picture may be.

Both losses are relative: 0 is the picture's own code or matrix, 1 is as far away as nothing at all.
So weights mean the same at every layer and in every network.
"""

from labsupport.core import modes
from labsupport.methods.style.colours import luminance, match_colours, recolour
from labsupport.methods.style.recipe import (
    COLOURS,
    GATYS,
    SQUEEZENET,
    STARTS,
    StyleRecipe,
    recipe_for,
    with_average_pooling,
)
from labsupport.methods.style.transfer import (
    StyleFrame,
    content_losses,
    largest_size,
    memory_needed,
    reconstruct_content,
    reconstruct_style,
    style_losses,
    stylize,
)

modes.keep(__name__)
