import pytest
import torch

from common.datasets.dequantise import dequantise


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_noise_is_uniform_and_the_integers_can_be_read_back(dtype: torch.dtype):
    x = torch.arange(17).repeat(3000).to(dtype)
    found = dequantise(x, 17, noise())
    assert found.dtype == dtype
    assert torch.equal(found.floor(), x)
    u = found - x
    # 51,000 draws: four standard errors of the mean are 4 x 0.289 / 226 = 0.0051, and those of the
    # mean square 4 x 0.298 / 226.
    assert abs(u.mean() - 1 / 2) < 0.0051
    assert abs(u.square().mean() - 1 / 3) < 0.0053


def test_the_input_stays_as_it_was():
    x = torch.arange(17.0)
    dequantise(x, 17, noise())
    assert torch.equal(x, torch.arange(17.0))


def test_continuous_data_pass_unchanged_and_draw_nothing():
    x, generator = torch.randn(5), noise()
    assert dequantise(x, None, generator) is x
    assert torch.equal(generator.get_state(), noise().get_state())


def test_noise_is_a_function_of_the_generator():
    x = torch.zeros(100)
    assert torch.equal(dequantise(x, 2, noise(1)), dequantise(x, 2, noise(1)))
    assert not torch.equal(dequantise(x, 2, noise(1)), dequantise(x, 2, noise(2)))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_brightest_pixel_never_rounds_up_to_the_number_of_levels(
    levels: int, monkeypatch: pytest.MonkeyPatch
):
    largest = 1 - 2**-24  # the largest number below 1 in float32
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, largest))
    x = torch.full((3,), levels - 1.0)
    assert (x + largest == levels).all()  # so that there is something to prevent
    found = dequantise(x, levels, noise())
    assert bool((found < levels).all())
    assert torch.equal(found.floor(), x)
