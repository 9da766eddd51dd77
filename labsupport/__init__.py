"""Tested, device-aware implementations of every idea in the workbook, behind one door.

    from labsupport import images, networks, occlusion

Importing this package alone costs nothing, and a Python far too old for it can still read this.
"""

import sys

__version__ = "0.2.0"

if sys.version_info >= (3, 11):
    from typing import TYPE_CHECKING

    from labsupport.door import __all__, __dir__, __getattr__

    if TYPE_CHECKING:
        from labsupport.commands import doctor
        from labsupport.core import device, images, training
        from labsupport.core import network as networks
        from labsupport.core.images import crops, films
        from labsupport.core.network import blueprints, rules, transposes
        from labsupport.labs import check, hint, predict, progress, solution, use
        from labsupport.methods import (
            activations,
            anatomy,
            backprop,
            codes,
            dream,
            evolution,
            faithfulness,
            fooling,
            inversion,
            linear,
            occlusion,
            optimize,
            patches,
            saliency,
            style,
            tasks,
            twins,
            weights,
        )
        from labsupport.ui import figures
