"""Every public method on a network that ends before its classes: right, or refused in words."""

import pytest
import toys
from cases import CALLS

from labsupport.core import network as networks
from labsupport.core.errors import LabError, NoClasses

UNIT = ("conv5", 3)
ASKS = [case for case in CALLS if case.uses_network]


@pytest.fixture(scope="module")
def network():
    return networks.load("alexnet")


@pytest.mark.parametrize("case", ASKS, ids=lambda case: case.name)
def test_a_class_is_refused_as_one_and_a_unit_is_answered(network, case):
    image = toys.image(127, 127)
    for target in (3, UNIT):
        refusal, numbers = None, {}
        try:
            numbers = case.call(network, image, target)
        except LabError as error:
            refusal = error
        if isinstance(refusal, NoClasses):
            assert "ends at pool5" in str(refusal)
        elif refusal:  # a unit where the call asks for a number, or an image's size
            assert target == UNIT or "linear" in case.name, refusal
        assert all(part.isfinite().all() for part in numbers.values())
