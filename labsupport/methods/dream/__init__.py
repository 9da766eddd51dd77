"""DeepDream: whatever a layer sees in a picture, more of it.

Mordvintsev, Olah and Tyka, "Inceptionism: going deeper into neural networks" (2015), and the
notebook that came with it. The gradient at a layer is set to the layer's own activation: that is
the gradient of half its squared length, so gradient ascent raises that length, with the engine of
`optimize`. What makes it a dream is how: steps of 1.5 of 255 on average, the picture shifted about
before each step (jitter), and **octaves**: first on a small copy of the picture, then on ever
larger ones, to which the *detail* that was dreamed so far is carried over.

    last = dream(network, image, "fire8")                      # one layer
    last = dream(network, image, ["fire4", "fire8"])           # several
    last = dream(network, image, {"fire4": 1.0, "fire8": 30})  # weighed, see `balanced_weights`
    last = dream(network, image, Guided.by(network, "fire4", guide))
    for frame in dream.frames(network, image, "fire8"):        # on the way
    for frame in zoom_film.frames(network, image, "fire8"):    # dream, zoom, dream, zoom ...
    for frame in dream_film.frames(network, images, "fire8"):  # a film of your own

A `DreamRecipe` says how: `CLASSIC` is that of 2015, `VIVID` evens out the gradient's frequencies.
"""

from labsupport.core import modes
from labsupport.methods.dream.deepdream import CLASSIC, VIVID, DreamFrame, DreamRecipe, dream
from labsupport.methods.dream.films import Feedback, FilmFrame, dream_film, feedback, zoom_film
from labsupport.methods.dream.objectives import DreamObjective, Guided, Tiled, balanced_weights
from labsupport.methods.dream.octaves import LaplacianNormalized, octave_sizes, resized, zoom

modes.keep(__name__)
