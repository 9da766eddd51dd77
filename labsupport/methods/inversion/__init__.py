"""From a code back to a picture that has it.

Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015: an
image is optimized until its code Phi(x) at a layer is a given one, Phi_0,

    x* = arg min  |Phi(x) - Phi_0|^2 / |Phi_0|^2  +  lambda_tv TV(x)  +  lambda_a |x|^a,

and the two last terms make it a picture. Where the code says too little, many pictures have it:
each seed ends at another one, and they are all the same to the network.

    code = encode(network, image, "fire5")              # all that is kept of the image
    invert(network, code).image                         # a picture that has it
    invert(network, code, seed=(0, 1, 2, 3))            # four of them
    for frame in invert.frames(network, code):          # frames while it works

- `encode` takes a layer's name, "log-probabilities", "scores", or `Hog()`, the description of
  pictures that came before networks. `neighbourhood` and `some_channels` keep a part of a code.
- A `Setting` says how; `setting_for` finds one for a code.
- `ridge_start` reads a start for a deep layer from its code, as other pictures suggest it.
- `code_distance`, `pixel_distance` and `perceptual_distance` (LPIPS) compare images, `compare`
  several reconstructions with each other. `normalised_error` is the paper's; `errors_by_layer`
  measures it for many images.
- `weight_sweep` varies the total variation's weight; `recognition` asks which class a network
  sees in what it was given back.
"""

from labsupport.core import modes
from labsupport.methods.inversion.errors import (
    Comparison,
    LayerError,
    Recognition,
    code_distance,
    compare,
    errors_by_layer,
    mean_pairwise,
    normalised_error,
    pixel_distance,
    recognition,
)
from labsupport.methods.inversion.perceptual import perceptual_distance, perceptual_weights
from labsupport.methods.inversion.ridge import RidgeFrame, ridge_start
from labsupport.methods.inversion.search import (
    HOG,
    Code,
    Hog,
    Setting,
    encode,
    invert,
    last_pooling,
    neighbourhood,
    setting_for,
    some_channels,
    weight_sweep,
)
from labsupport.methods.optimize import LOG_PROBABILITIES, SCORES

modes.keep(__name__)
