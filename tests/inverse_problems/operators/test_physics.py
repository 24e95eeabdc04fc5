import pytest
import torch
from torch import Tensor, nn

from inverse_problems.operators.physics import PhysicsOperator

SHAPE = (2, 6, 8)


class Flipped(nn.Module):
    """Stand in for a module of deepinv: one batch dimension, image-like measurements."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(2.0))

    def A(self, x: Tensor) -> Tensor:
        assert x.dim() == 4
        return self.scale * x.flip(-1)[..., ::2]

    def A_adjoint(self, y: Tensor) -> Tensor:
        assert y.dim() == 4
        x = y.new_zeros(*y.shape[:-1], 2 * y.shape[-1])
        x[..., ::2] = self.scale * y
        return x.flip(-1)

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(y) / self.scale**2

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("the noise model is to be left out")


def test_a_physics_object_measures_images_of_any_batch():
    operator = PhysicsOperator(SHAPE, Flipped())
    assert (operator.measured, operator.m) == ((2, 6, 4), 48)
    x = torch.rand(3, 2, *SHAPE)
    y = operator(x)
    assert torch.equal(y, 2 * x.flip(-1)[..., ::2])
    assert operator.pseudo_inverse(y).shape == operator.adjoint(y).shape == x.shape
    assert torch.equal(operator(operator.pseudo_inverse(y)), y)
    assert operator(x[0, 0]).shape == (2, 6, 4)


def test_a_physics_module_moves_along():
    operator = PhysicsOperator(SHAPE, Flipped()).double()
    assert operator.physics.scale.dtype == torch.float64
    assert operator(torch.rand(1, *SHAPE, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of the other package are its own
@pytest.mark.parametrize("name", ["inpainting", "blur", "sensing"])
def test_the_physics_of_deepinv(name):
    physics = pytest.importorskip("deepinv").physics
    made = {
        "inpainting": lambda: physics.Inpainting(SHAPE, mask=0.5),
        "blur": lambda: physics.BlurFFT(SHAPE, filter=torch.rand(1, 1, 3, 3)),
        "sensing": lambda: physics.CompressedSensing(m=10, img_size=SHAPE),
    }[name]()
    operator = PhysicsOperator(SHAPE, made)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *SHAPE, generator=generator)
    y = operator(x)
    other = torch.randn(y.shape, generator=generator)
    # Sums of a thousand single-precision products.
    torch.testing.assert_close(
        (y * other).sum(), (x * operator.adjoint(other)).sum(), rtol=1e-4, atol=1e-3
    )
    torch.testing.assert_close(operator(operator.pseudo_inverse(y)), y, rtol=1e-3, atol=1e-3)
