"""Anatomy: what a network is made of, where its parameters sit, and where its work is done.

The networks of the lecture, from LeCun et al. 1998 to He et al. 2015, measured layer by layer.
Every number is read off the traced network: nothing here is a table that somebody typed.
"""

from labsupport.core import modes
from labsupport.methods.anatomy.costs import BYTES, WEIGHTED, Anatomy, LayerCost, anatomy
from labsupport.methods.anatomy.designs import Design, design
from labsupport.methods.anatomy.tables import (
    Published,
    configuration,
    configuration_table,
    published,
)

modes.keep(__name__)
