"""Weights: look at what a layer has learned to multiply with, without any image.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
networks", NIPS 2012, figure 3: the first layer's filters are rotated stripes and blobs of colour.
The first layer reads pixels, so its weights are pictures; every other layer reads feature maps.
"""

from labsupport.methods.weights.effective import EffectiveFilter, effective_filter
from labsupport.methods.weights.filters import Filters, filters
from labsupport.methods.weights.gabor import KINDS, GaborFit, gabor_fit, kinds, noise_floor
from labsupport.methods.weights.measures import KEYS, Measures, argsort, dead, duplicates, measure
