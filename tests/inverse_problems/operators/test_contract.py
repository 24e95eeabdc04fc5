"""What every linear measurement promises."""

import copy
import io

import pytest
import torch
from torch import Tensor

from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.registry import OPERATORS, SHAPE, Entry


@pytest.fixture(params=OPERATORS.values(), ids=[name.replace(" ", "-") for name in OPERATORS])
def entry(request: pytest.FixtureRequest) -> Entry:
    return request.param


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix(operator: LinearOperator, groups: int, group: int = 0) -> Tensor:
    """Return A (m, n) of a group, measured pixel by pixel."""
    pixels = torch.eye(operator.n, dtype=torch.float64).unflatten(-1, SHAPE)
    # Each group gets all pixels.
    y = operator(pixels.repeat(groups, 1, 1, 1)).flatten(1).unflatten(0, (groups, operator.n))
    return y[group].mT


@pytest.mark.parametrize("batch", [(2,), (2, 3), (1,), (0,)])
def test_the_adjoint_is_that_of_the_measurement(entry, batch):
    operator = entry.make().double()
    x = normal(batch[0] * entry.groups, *batch[1:], *SHAPE)
    y = operator(x)
    assert y.shape == (batch[0] * entry.groups, *batch[1:], *operator.measured)
    other = normal(*y.shape, seed=1)
    back = operator.adjoint(other)
    assert back.shape == x.shape
    # Sums of some hundred products of size one.
    torch.testing.assert_close((y * other).sum(), (x * back).sum(), rtol=1e-12, atol=1e-12)


def test_the_measurement_is_linear_and_keeps_no_state(entry):
    operator = entry.make().double()
    a, b = normal(2 * entry.groups, *SHAPE), normal(2 * entry.groups, *SHAPE, seed=1)
    first = operator(a)
    torch.testing.assert_close(operator(2 * a - b), 2 * first - operator(b), rtol=0, atol=1e-12)
    assert torch.equal(operator(a), first)


def test_a_single_image_needs_no_batch(entry):
    if entry.groups > 1:
        with pytest.raises(ValueError, match=f"a multiple of {entry.groups}, got 1"):
            entry.make()(torch.zeros(1, *SHAPE))
        return
    operator = entry.make().double()
    x = normal(*SHAPE)
    y = operator(x)
    assert y.shape == operator.measured
    torch.testing.assert_close(y, operator(x[None])[0], rtol=1e-13, atol=1e-14)
    assert operator.adjoint(y).shape == operator.pseudo_inverse(y).shape == SHAPE


def test_the_pseudo_inverse_is_penrose_s(entry):
    operator = entry.make().double()
    for group in range(entry.groups):
        a = matrix(operator, entry.groups, group)
        units = torch.eye(operator.m, dtype=torch.float64).unflatten(-1, operator.measured)
        columns = operator.pseudo_inverse(units.repeat(entry.groups, *(1,) * (units.dim() - 1)))
        inverse = columns.flatten(1).unflatten(0, (entry.groups, operator.m))[group].mT
        # Rounding errors of A+ are multiplied by the condition, at most 1e4 here: that of a blur.
        norm = float(torch.linalg.matrix_norm(inverse, 2))
        condition = float(torch.linalg.matrix_norm(a, 2)) * norm
        small = 1e-14 * max(100.0, condition)
        large = small * max(1.0, norm)
        torch.testing.assert_close(a @ inverse @ a, a, rtol=0, atol=small)
        torch.testing.assert_close(inverse @ a @ inverse, inverse, rtol=0, atol=large)
        torch.testing.assert_close(a @ inverse, (a @ inverse).mT, rtol=0, atol=small)
        torch.testing.assert_close(inverse @ a, (inverse @ a).mT, rtol=0, atol=small)


def test_gradients_pass_through_the_measurement(entry):
    operator = entry.make().double()
    x = normal(entry.groups, *SHAPE).requires_grad_()
    y = normal(*operator(x).shape, seed=1)
    (gradient,) = torch.autograd.grad(0.5 * (operator(x) - y).square().sum(), x)
    expected = operator.adjoint(operator(x) - y)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_follows_the_operator(entry, dtype):
    operator = entry.make().to(dtype)
    x = normal(entry.groups, *SHAPE).to(dtype)
    y = operator(x)
    assert y.dtype == operator.adjoint(y).dtype == operator.pseudo_inverse(y).dtype == dtype
    exact = entry.make().double()(x.double())
    # A hundred single roundings; `make` rounds matrices to single precision too.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-15
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=tolerance)


def test_an_operator_can_be_saved_and_loaded_and_copied(entry):
    operator = entry.make()
    x = normal(entry.groups, *SHAPE).float()
    saved = io.BytesIO()
    torch.save(operator.state_dict(), saved)
    saved.seek(0)
    other = entry.make()
    for buffer in other.buffers():
        buffer.zero_()
    other.load_state_dict(torch.load(saved))
    assert torch.equal(other(x), operator(x))
    assert torch.equal(copy.deepcopy(operator)(x), operator(x))


def test_sizes_are_those_of_the_measurements(entry):
    operator = entry.make()
    y = operator(torch.zeros(entry.groups, *SHAPE))
    assert operator.n == 96
    assert operator.m == y[0].numel()
    assert str(SHAPE) in repr(operator)
