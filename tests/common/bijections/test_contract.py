"""What every bijection of the registry promises."""

import math

import pytest
import torch
from torch import Tensor

from common.bijections.base import Bijection
from common.bijections.registry import BIJECTIONS, LEVELS, Entry

UPPER = {"unit": 1.0, "levels": float(LEVELS)}
EXTREMES = {"real": (-1e4, 1e4), "unit": (0.0, 1.0), "levels": (0.0, float(LEVELS))}


@pytest.fixture(params=BIJECTIONS.values(), ids=[name.replace(" ", "-") for name in BIJECTIONS])
def entry(request: pytest.FixtureRequest) -> Entry:
    return request.param


def draw(domain: str, shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if domain == "real":
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    return UPPER[domain] * torch.rand(shape, generator=generator, dtype=torch.float64)


def items(entry: Entry, n: int, seed: int = 1) -> Tensor:
    return draw(entry.domain, (*entry.models, n, *entry.event), seed)


def latents(entry: Entry, n: int, seed: int = 2) -> Tensor:
    event = entry.make().double().forward_and_logdet(items(entry, 1))[0].shape
    shape = (*entry.models, n, *event[len(entry.models) + 1 :])
    return draw(entry.latents, shape, seed)


def directions(entry: Entry, bijection: Bijection, n: int):
    yield bijection.forward_and_logdet, items(entry, n)
    yield bijection.inverse_and_logdet, latents(entry, n)


def test_the_round_trip_returns_the_input_in_both_directions(entry):
    bijection = entry.make().double()
    x, z = items(entry, 6), latents(entry, 6)
    # Triangular solves of some hundred rows lose about three digits of sixteen.
    close = {"rtol": 1e-11, "atol": 1e-12}
    there = bijection.forward_and_logdet(x)[0]
    torch.testing.assert_close(bijection.inverse_and_logdet(there)[0], x, **close)
    back = bijection.inverse_and_logdet(z)[0]
    torch.testing.assert_close(bijection.forward_and_logdet(back)[0], z, **close)


def test_the_inverse_alone_is_that_of_inverse_and_logdet(entry):
    bijection, z = entry.make().double(), latents(entry, 6)
    assert torch.equal(bijection.inverse(z), bijection.inverse_and_logdet(z)[0])


def test_the_logdets_of_the_two_directions_cancel(entry):
    bijection = entry.make().double()
    z, logdet = bijection.forward_and_logdet(items(entry, 6))
    torch.testing.assert_close(bijection.inverse_and_logdet(z)[1], -logdet)
    x, logdet = bijection.inverse_and_logdet(latents(entry, 6))
    torch.testing.assert_close(bijection.forward_and_logdet(x)[1], -logdet)


def test_the_logdet_is_that_of_autograd_and_models_do_not_mix(entry):
    bijection = entry.make().double()
    models = math.prod(entry.models)
    for direction, x in directions(entry, bijection, 1):
        logdet = direction(x)[1]
        jacobian = torch.autograd.functional.jacobian(lambda v, f=direction: f(v)[0], x)
        blocks = jacobian.reshape(models, x.numel() // models, models, x.numel() // models)
        own = torch.stack([blocks[k, :, k] for k in range(models)])
        expected = torch.linalg.slogdet(own).logabsdet.reshape(logdet.shape)
        torch.testing.assert_close(logdet, expected)
        assert blocks.count_nonzero() == own.count_nonzero()


def test_gradients_reach_every_parameter_and_the_input_in_both_directions(entry):
    bijection = entry.make().double()
    for direction, x in directions(entry, bijection, 6):
        bijection.zero_grad()
        x.requires_grad_()
        y, logdet = direction(x)
        # Unequal weights, so that nothing cancels by symmetry.
        weights = draw("unit", y.shape, seed=3)
        (
            (weights * y).sum() + (weights.flatten()[: logdet.numel()] * logdet.flatten()).sum()
        ).backward()
        for name, tensor in [("input", x), *bijection.named_parameters()]:
            assert tensor.grad is not None, name
            assert tensor.grad.isfinite().all(), name
            assert tensor.grad.abs().sum() > 0, name


def test_parameter_gradients_are_those_of_finite_differences(entry):
    bijection = entry.make().double()
    parameters = list(bijection.parameters())
    generator = torch.Generator().manual_seed(4)
    step = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    for direction, x in directions(entry, bijection, 3):

        def loss(direction=direction, x=x):
            y, logdet = direction(x)
            return y.square().mean() + y.sin().mean() + logdet.mean()

        if not parameters:
            continue
        gradient = torch.autograd.grad(loss(), parameters)
        slope = sum((g * s).sum() for g, s in zip(gradient, step, strict=True)).item()
        ends = []
        for h in (1e-6, -1e-6):
            with torch.no_grad():
                for p, s in zip(parameters, step, strict=True):
                    p += h * s
                ends.append(loss().item())
                for p, s in zip(parameters, step, strict=True):
                    p -= h * s
        # Rounding of the loss over the step, 1e-16 / 1e-6, times a loss of up to some hundreds.
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_works(entry, n):
    bijection = entry.make().double()
    for direction, x in directions(entry, bijection, n):
        y, logdet = direction(x.requires_grad_())
        assert y.shape[: len(entry.models) + 1] == (*entry.models, n)
        assert y.numel() == x.numel()
        assert logdet.shape == (*entry.models, n)
        (y.sum() + logdet.sum()).backward()
        assert all(p.grad.isfinite().all() for p in bijection.parameters())


def test_an_item_is_mapped_alike_in_every_batch(entry):
    bijection = entry.make().double()
    batch = len(entry.models)
    for direction, x in directions(entry, bijection, 5):
        y, logdet = direction(x)
        alone, alone_logdet = direction(x.narrow(batch, 3, 1))
        torch.testing.assert_close(alone, y.narrow(batch, 3, 1))
        torch.testing.assert_close(alone_logdet, logdet.narrow(batch, 3, 1))


def test_leading_dimensions_are_all_batch(entry):
    if entry.models:
        return  # the leading dimensions of stacked models are theirs
    bijection = entry.make().double()
    for direction, x in directions(entry, bijection, 6):
        y, logdet = direction(x)
        nested, nested_logdet = direction(x.unflatten(0, (2, 3)))
        torch.testing.assert_close(nested, y.unflatten(0, (2, 3)))
        torch.testing.assert_close(nested_logdet, logdet.unflatten(0, (2, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_input_gives_finite_results(entry, dtype):
    bijection = entry.make().to(dtype)
    forward, inverse = directions(entry, bijection, 2)
    for (direction, x), domain in ((forward, entry.domain), (inverse, entry.latents)):
        for value in EXTREMES[domain]:
            y, logdet = direction(torch.full_like(x, value, dtype=dtype))
            assert y.isfinite().all()
            assert logdet.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_have_the_dtype_of_the_input(entry, dtype):
    bijection = entry.make().to(dtype)
    for direction, x in directions(entry, bijection, 3):
        y, logdet = direction(x.to(dtype))
        assert (y.dtype, logdet.dtype) == (dtype, dtype)


def test_float32_agrees_with_float64(entry):
    single, double = entry.make(), entry.make().double()
    for (low, x), (high, _) in zip(
        directions(entry, single, 4), directions(entry, double, 4), strict=True
    ):
        # Logits near the ends of [0, 1] and chains amplify the rounding of 6e-8 a few hundredfold.
        for a, b in zip(low(x.float()), high(x.float().double()), strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


def test_a_loaded_bijection_computes_the_same(entry, tmp_path):
    bijection, fresh = entry.make(), entry.make()
    torch.save(bijection.state_dict(), tmp_path / "bijection.pt")
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    fresh.load_state_dict(torch.load(tmp_path / "bijection.pt", weights_only=True))
    x = items(entry, 4).float()
    for a, b in zip(fresh(x), bijection(x), strict=True):
        assert torch.equal(a, b)


def test_every_entry_is_made_alike_each_time(entry):
    first, second = entry.make().state_dict(), entry.make().state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_repr_names_the_class_and_has_no_tensor(entry):
    bijection = entry.make()
    text = repr(bijection)
    assert text.startswith(type(bijection).__name__)
    assert "tensor(" not in text
