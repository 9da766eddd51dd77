"""Activations: look at what every channel of a layer answers to one picture, and at one unit
from every side.

Yosinski, Clune, Nguyen, Fuchs and Lipson, "Understanding neural networks through deep
visualization", 2015: a toolbox that shows a layer's activations live, and for a chosen unit its
top images, its deconvnet picture and the picture that excites it most. How activations follow
when the picture is distorted is Zeiler and Fergus' question (2013, section 4.1)."""

from labsupport.core import modes
from labsupport.methods.activations.correlations import Similarity, correlation, similarity
from labsupport.methods.activations.distortions import Distortion, distort
from labsupport.methods.activations.effects import UnitChanges, Votes, class_votes, unit_changes
from labsupport.methods.activations.mosaics import Layout, layout, mosaic
from labsupport.methods.activations.views import PictureCache, UnitPicture, UnitViews, unit_views

modes.keep(__name__)
