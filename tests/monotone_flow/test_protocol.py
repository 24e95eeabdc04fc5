"""What an evaluation may be told."""

import pytest
from pydantic import ValidationError

from monotone_flow.protocol import Evaluate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"certified": 5, "jacobians": 6}, "expected at most 5, got 6"),
        ({"cells": 81}, "expected an even number of cells, got 81"),
    ],
)
def test_what_cannot_be_measured_is_refused(change: dict[str, int], message: str):
    with pytest.raises(ValidationError, match=message):
        Evaluate(**change)


def test_all_certified_points_may_have_jacobians():
    assert Evaluate(certified=5, jacobians=5).jacobians == 5
