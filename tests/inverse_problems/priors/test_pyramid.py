import pytest

from inverse_problems.priors.pyramid import halvings


@pytest.mark.parametrize(
    ("size", "times"),
    [((64, 64), 4), ((32, 32), 3), ((28, 28), 2), ((8, 8), 1), ((64, 8), 1), ((12, 16), 1)],
)
def test_an_image_is_halved_down_to_four_pixels_or_an_odd_side(size, times):
    assert halvings(*size) == times


@pytest.mark.parametrize("size", [(7, 8), (8, 9), (6, 6)])
def test_an_image_that_cannot_be_halved_is_refused(size):
    with pytest.raises(ValueError, match=f"got {size[0]} x {size[1]}"):
        halvings(*size)
