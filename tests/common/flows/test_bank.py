import math

import pytest
import torch
from torch import Tensor, nn

from common.bijections.base import Chain
from common.bijections.conditional import Coupling
from common.bijections.lu import LULinear
from common.bijections.permutation import Permutation
from common.bijections.registry import randomise
from common.bijections.residual_net import ResidualNet
from common.bijections.splines import LinearRational
from common.flows.bank import Bank, Stack
from common.flows.continuous import ffjord
from common.flows.flow import Flow, StandardNormal

K, B, D = 3, 6, 4
SPLINE = LinearRational(3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flow(models: tuple[int, ...] = (), seed: int = 0) -> Flow:
    """Return a permutation, an LU layer and a coupling with batch norm and dropout."""
    net = ResidualNet(2, 2 * SPLINE.parameters, 8, 1, dropout=0.5, batch_norm=True, models=models)
    mask = torch.tensor([True, False, True, False])
    links = Chain(
        [
            Permutation(torch.tensor([2, 0, 3, 1])),
            LULinear(D, models),
            Coupling(mask, net, SPLINE, unconditional=SPLINE, models=models),
        ]
    )
    randomise(links, seed)
    return Flow(StandardNormal((D,)), links).double()


def stack() -> Stack:
    made = Stack(flow((K,)), K)
    made.eval()
    return made


def bank_of(stacked: Stack) -> Bank:
    """Return the models of a stack as flows of their own."""
    made = Bank([flow(seed=k) for k in range(K)])
    fixed = {n: t for n, t in made.tensors().items() if not t.is_floating_point()}
    made.load_tensors({**stacked.tensors(), **fixed})
    made.eval()
    return made


def test_a_stack_gives_the_densities_of_its_models_run_alone():
    stacked = stack()
    x = normal(K, B, D)
    found = stacked.log_prob(x)
    assert found.shape == (K, B)
    torch.testing.assert_close(found, bank_of(stacked).log_prob(x))


@pytest.mark.parametrize("kind", ["stack", "bank"])
def test_parts_cover_every_model_once(kind: str):
    bank = stack() if kind == "stack" else bank_of(stack())
    x = normal(K, B, D)
    found = torch.full((K, B), math.nan, dtype=torch.float64)
    for part, items, models in bank.parts(x):
        assert bool(found[models].isnan().all())
        found[models] = part.log_prob(items).detach()
    torch.testing.assert_close(found, bank.log_prob(x))


def test_the_loss_of_one_model_moves_no_other():
    stacked = stack()
    stacked.log_prob(normal(K, B, D))[1].sum().backward()
    assert (stacked.gradient_norms() > 0).tolist() == [False, True, False]
    for name, parameter in stacked.named_parameters():
        assert parameter.grad is not None
        assert bool((parameter.grad[[0, 2]] == 0).all()), name


def gradients(bank: Bank, k: int) -> Tensor:
    """Return all gradients of a model as one vector."""
    if isinstance(bank, Stack):
        parts = [p.grad[k] for p in bank.parameters() if p.grad is not None]
    else:
        parts = [p.grad for p in bank.each[k].parameters() if p.grad is not None]
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("kind", ["stack", "bank"])
def test_each_model_is_clipped_by_its_own_norm(kind: str):
    bank = stack() if kind == "stack" else bank_of(stack())
    weight = torch.tensor([1e-6, 1.0, 100.0], dtype=torch.float64)
    (bank.log_prob(normal(K, B, D)).sum(-1) * weight).sum().backward()
    before = [gradients(bank, k) for k in range(K)]
    norms = torch.stack([g.norm() for g in before])
    torch.testing.assert_close(bank.gradient_norms(), norms)
    assert norms[0] < 0.01
    assert norms[1] > 0.1
    bank.clip(0.1)
    assert torch.equal(gradients(bank, 0), before[0])  # as it was: below the limit
    for k in (1, 2):
        # The norm is divided by itself plus 1e-6.
        torch.testing.assert_close(gradients(bank, k), before[k] * 0.1 / (norms[k] + 1e-6))


def test_a_stack_clips_parameters_that_are_one_number_for_each_model():
    stacked = Stack(ffjord(2, 2, 1, models=(K,)), K).double()
    stacked.eval()
    (100 * stacked.log_prob(normal(K, B, 2))).sum().backward()
    assert any(parameter.shape == (K,) for parameter in stacked.parameters())
    stacked.clip(0.5)
    # The solver's gradients are finite; the limit is met up to the 1e-6 of the division.
    torch.testing.assert_close(
        stacked.gradient_norms(), torch.full((K,), 0.5).double(), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("kind", ["stack", "bank"])
def test_tensors_carry_a_model_over_to_another_start(kind: str):
    first = stack() if kind == "stack" else bank_of(stack())
    second = Stack(flow((K,), 7), K) if kind == "stack" else Bank(others())
    second.eval()
    x = normal(K, B, D)
    assert not torch.equal(first.log_prob(x), second.log_prob(x))
    tensors = first.tensors()
    assert all(len(tensor) == K for tensor in tensors.values())
    second.load_tensors(tensors)
    assert torch.equal(first.log_prob(x), second.log_prob(x))


def others() -> list[Flow]:
    return [flow(seed=20 + k) for k in range(K)]


def test_fixed_permutations_are_part_of_a_stack_and_not_of_its_tensors():
    stacked = stack()
    assert not any("permutation" in name for name in stacked.tensors())
    assert any("mean" in name for name in stacked.tensors())  # running statistics are


@pytest.mark.parametrize("models", [K - 1, K + 1])
def test_tensors_of_another_number_of_models_are_refused(models: int):
    foreign = Bank([flow(seed=k) for k in range(models)]).tensors()
    with pytest.raises(RuntimeError, match=f"must have {K} models as its leading dimension"):
        Bank(others()).load_tensors(foreign)
    fewer = Stack(flow((models,)), models).tensors()
    with pytest.raises(RuntimeError, match="size mismatch"):
        stack().load_tensors(fewer)


def test_tensors_of_another_flow_are_refused():
    other = Bank([Flow(StandardNormal((D,)), LULinear(D)) for _ in range(K)])
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_tensors(Bank(others()).tensors())


def test_a_parameter_without_models_cannot_be_stacked():
    shared = Flow(StandardNormal((D,)), LULinear(D))
    with pytest.raises(ValueError, match="must have 3 models as its leading dimension"):
        Stack(shared, K)
    scalar = Flow(StandardNormal((D,)), LULinear(D, (K,)))
    scalar.bijection.extra = nn.Parameter(torch.zeros(()))
    with pytest.raises(ValueError, match=r"'bijection\.extra' must have 3 models"):
        Stack(scalar, K)


@pytest.mark.parametrize("kind", ["stack", "bank"])
def test_samples_are_a_function_of_the_generator(kind: str):
    bank = stack() if kind == "stack" else bank_of(stack())

    def drawn(seed: int, temperature: float = 1.0) -> Tensor:
        return bank.sample(5, torch.Generator().manual_seed(seed), temperature)

    assert drawn(1).shape == (K, 5, D)
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert len(drawn(1).flatten(0, 1).unique(dim=0)) == K * 5
    # At temperature zero all samples of a model are the image of the latent zero.
    torch.testing.assert_close(drawn(1, 0.0), drawn(2, 0.0))
