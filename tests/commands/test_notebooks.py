"""Labs are named by number or name."""

import pytest

from labsupport.commands import notebooks
from labsupport.commands.faults import Fault


@pytest.mark.parametrize("lab", ["5", "05", "05_occlusion", "notebooks/05_occlusion.ipynb"])
def test_a_lab_is_found_by_number_or_name(lab: str):
    assert [path.stem for path in notebooks.chosen([lab])] == ["05_occlusion"]


def test_labs_come_once_and_in_the_lectures_order_and_all_by_default():
    assert [path.stem[:2] for path in notebooks.chosen(["5", "3", "05"])] == ["03", "05"]
    assert notebooks.chosen([]) == sorted(notebooks.FOLDER.glob("*.ipynb"))


def test_an_unknown_lab_is_told_with_what_there_is():
    with pytest.raises(Fault, match=r"no lab '77'. There is: 00_start_here, "):
        notebooks.chosen(["77"])
