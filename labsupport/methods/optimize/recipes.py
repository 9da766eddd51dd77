"""How an image is optimized, as values: our setting and those of the papers."""

from dataclasses import dataclass, field

from labsupport.core.errors import BadSetting
from labsupport.methods.optimize import regularizers
from labsupport.methods.optimize.optimizers import Adam, Normalized, Optimizer
from labsupport.methods.optimize.parameterization import Fourier, Parameterization, Pixels
from labsupport.methods.optimize.regularizers import Correction, Penalty, Regularizer
from labsupport.methods.optimize.transforms import Crop, Scale, Transform

STARTS = ("zeros", "mean", "grey", "black", "noise")


@dataclass(frozen=True)
class Recipe:
    """How an image is optimized; the parts are values, so a recipe can be varied and printed."""

    name: str = "ours"
    start: str = "noise"
    parameterization: Parameterization = field(default_factory=Fourier)
    transforms: tuple[Transform, ...] = (Crop(32), Scale(0.8, 1.2))
    regularizers: tuple[Regularizer, ...] = ()
    optimizer: Optimizer = field(default_factory=lambda: Adam(0.1))
    steps: int = 64

    def check(self) -> None:
        """Raise `BadSetting` where the parts do not go together."""
        if isinstance(self.transforms, Transform) or isinstance(self.regularizers, Regularizer):
            raise BadSetting(
                "transforms and regularizers are tuples: (Jitter(8),) for a single one"
            )
        wrong = [one for one in self.regularizers if not isinstance(one, Penalty | Correction)]
        if wrong:
            raise BadSetting(f"{wrong[0]!r} is no regularizer; for example TotalVariation(0.1)")
        corrections = [one for one in self.regularizers if isinstance(one, Correction)]
        if corrections and not isinstance(self.parameterization, Pixels):
            name = type(corrections[0]).__name__
            raise BadSetting(
                f"{name} changes pixels after each step: it needs parameterization=Pixels()"
            )


CLEAR = Recipe()
SIMONYAN = Recipe(
    "Simonyan 2013", "zeros", Pixels(), (), (regularizers.L2(10.0),), Normalized(1 / 255), steps=120
)
# Table 1 of Yosinski et al. 2015. It does not give the size of a step: that is ours.
_STEP = Normalized(4 / 255)
_TABLE: tuple[tuple[tuple[Regularizer, ...], Optimizer, int], ...] = (
    ((regularizers.Blur(0.5, every=4), regularizers.ClipNorm(0.5)), _STEP, 500),
    # A decay of 30 % a step leaves little of small ones.
    ((regularizers.Decay(0.3), regularizers.ClipNorm(0.2)), Normalized(16 / 255), 750),
    ((regularizers.Decay(1e-4), regularizers.Blur(1.0, every=4)), _STEP, 1000),
    ((regularizers.Blur(0.5, every=4), regularizers.ClipContribution(0.9)), _STEP, 1000),
)
YOSINSKI = tuple(
    Recipe(f"Yosinski {number}", "zeros", Pixels(), (), prior, optimizer, steps)
    for number, (prior, optimizer, steps) in enumerate(_TABLE, start=1)
)
