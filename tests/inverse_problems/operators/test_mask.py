import pytest
import torch

from inverse_problems.operators.mask import (
    Mask,
    bottom_band,
    centred_square,
    left_band,
    random_pixels,
)


def test_the_square_is_the_published_one():
    keep = centred_square(64, 64)
    hidden = (~keep).nonzero()
    assert hidden.min(0).values.tolist() == [22, 22]
    assert hidden.max(0).values.tolist() == [40, 40]
    assert len(hidden) == 19 * 19
    for size in range(1, 300):
        rows = (~centred_square(size, 1 + size % 7)).any(1)
        expected = torch.zeros(size, dtype=torch.bool)
        expected[int(size * 0.35) : int(size * 0.65)] = (
            ~centred_square(1 + size % 7, 1 + size % 7)
        ).any()
        assert torch.equal(rows, expected)


def test_bands_hide_what_they_say():
    assert left_band(2, 4, 0.5).tolist() == [[False, False, True, True]] * 2
    assert bottom_band(4, 2, 0.5).tolist() == [[True] * 2] * 2 + [[False] * 2] * 2
    assert left_band(3, 5, 0).all()
    assert bottom_band(3, 5, 0).all()
    assert not bottom_band(3, 5, 1).any()


def test_random_pixels_have_their_share_and_follow_the_seed():
    masks = [random_pixels(60, 50, 0.3, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    # Four standard errors.
    assert masks[0].double().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 3000) ** 0.5)
    assert not random_pixels(5, 5, 0.0, torch.Generator()).any()
    assert random_pixels(5, 5, 1.0, torch.Generator()).all()


def test_hidden_pixels_are_zero_whatever_they_were():
    keep = torch.tensor([[True, False]])
    mask = Mask((2, 1, 2), keep)
    x = torch.tensor([[[[1.0, torch.nan]], [[2.0, torch.inf]]]])
    assert mask(x).tolist() == [[[[1.0, 0.0]], [[2.0, 0.0]]]]
    assert (mask.known, mask.m) == (2, 4)


def test_channels_may_have_their_own_masks():
    keep = torch.tensor([[[True, False]], [[False, True]]])
    assert Mask((2, 1, 2), keep)(torch.ones(2, 1, 2)).tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"expected bool .* got torch.float32 \(1, 2\)"):
        Mask((2, 1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"got torch.bool \(2, 1\)"):
        Mask((2, 1, 2), torch.ones(2, 1, dtype=torch.bool))
    for make in (lambda: centred_square(4, 4, 1.2), lambda: left_band(4, 4, -0.1)):
        with pytest.raises(ValueError, match="must be a share from 0 to 1, got"):
            make()
