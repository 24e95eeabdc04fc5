import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.metrics.psnr import psnr
from inverse_problems.baselines.block_matching import BM3D, unavailable
from inverse_problems.operators.identity import Identity
from inverse_problems.operators.mask import Mask, centred_square

SHAPE = (1, 16, 16)


def test_without_the_package_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    reason = unavailable(Identity(SHAPE))
    assert "non-commercial" in reason
    assert "pip install bm3d" in reason
    with pytest.raises(UserError, match="BM3D needs the package bm3d"):
        BM3D(0.1)(torch.zeros(1, *SHAPE), Identity(SHAPE))


def test_what_it_cannot_do_is_refused_before_the_package_ends_the_process(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace())
    hole = Mask(SHAPE, centred_square(16, 16))
    with pytest.raises(UserError, match="expected the identity, got Mask"):
        BM3D(0.1)(torch.zeros(1, *SHAPE), hole)
    for shape in ((1, 8, 8), (2, 16, 16)):
        with pytest.raises(UserError, match=r"at least 9 pixels a side, got"):
            BM3D(0.1)(torch.zeros(1, *shape), Identity(shape))
    assert unavailable(Identity(SHAPE)) == ""


def test_images_go_in_and_out_as_the_package_wants_them(monkeypatch):
    seen = []

    def denoise(image: np.ndarray, std: float) -> np.ndarray:
        seen.append((image.shape, image.dtype, std))
        return image + 0.5

    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d=denoise, bm3d_rgb=denoise))
    for shape, expected in (((1, 9, 12), (9, 12)), ((3, 9, 12), (9, 12, 3))):
        y = torch.linspace(0, 1, 2 * 9 * 12 * shape[0]).reshape(2, *shape)
        found = BM3D(0.2)(y, Identity(shape))
        torch.testing.assert_close(found, (y + 0.5).clamp(max=1))
        assert seen[-2:] == [(expected, np.float64, 0.2)] * 2
    assert BM3D(0.2)(torch.zeros(0, *SHAPE), Identity(SHAPE)).shape == (0, *SHAPE)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of the package are its own
def test_the_package_removes_noise():
    pytest.importorskip("bm3d")
    x = torch.full((1, 1, 32, 32), 0.3, dtype=torch.float64)
    x[..., 10:25, 5:20] = 0.8
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    y = x + 0.1 * noise
    assert psnr(BM3D(0.1)(y, Identity((1, 32, 32))), x) > psnr(y, x) + 6
