"""Image classifiers, opened up: every layer by name, every number at hand.

A `Network` takes images in [0, 1] and gives scores; the normalization that its weights expect is
its first layer. It is recorded once, so its layers are the nodes of a graph, and any part of it can
be computed without the rest.
"""

from labsupport.core import modes
from labsupport.core.network.catalog import load, names, offline_names
from labsupport.core.network.layers import Box, Target
from labsupport.core.network.network import Network, Prediction, TargetLike
from labsupport.core.network.operations import Pair
from labsupport.core.network.own import examples_of, into, register, wrap
from labsupport.core.network.receptive_boxes import receptive_box

modes.keep(__name__)
