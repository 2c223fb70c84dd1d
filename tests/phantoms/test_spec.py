from __future__ import annotations

import pytest

from wsikit.errors import UsageError
from wsikit.phantoms.spec import DEMO_MPP, DEMO_SIZE, PhantomSpec
from wsikit.types import Mpp, Size


@pytest.mark.parametrize("slide_id", ["", "../up", "a/b", ".hidden", "a b", "x\n", "a" * 200])
def test_an_id_that_could_leave_the_folder_is_refused(slide_id):
    with pytest.raises(UsageError, match="cannot name a file"):
        PhantomSpec(slide_id, DEMO_SIZE, DEMO_MPP, 1, True, "aurora")


def test_an_unknown_scanner_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'aurora'"):
        PhantomSpec("a", DEMO_SIZE, DEMO_MPP, 1, True, "aurrora")


@pytest.mark.parametrize("mpp", [Mpp(0.0, 0.5), Mpp(float("nan"), 0.5), Mpp(0.5, 40.0)])
def test_an_mpp_out_of_range_is_refused(mpp):
    with pytest.raises(UsageError, match="mpp"):
        PhantomSpec("a", DEMO_SIZE, mpp, 1, True, "aurora")


def test_a_size_out_of_range_is_refused():
    with pytest.raises(UsageError, match="size"):
        PhantomSpec("a", Size(0, 10), DEMO_MPP, 1, True, "aurora")
