import copy

import pytest
import torch
from torch import Tensor

from common.bijections.lu import LULinear
from common.bijections.registry import randomise
from common.flows.flow import Flow
from lu_net.config import Model, Optimiser, Train
from lu_net.model import Bank, Stack, build_lu_net, builder
from lu_net.train import backward, clip, make_optimiser

SHAPE, LEVELS, MODELS = (1, 2, 3), 17, 3
LU_NET = Model("lu_net", layers=3)
REALNVP = Model("realnvp", couplings=2, width=4)


def stack(models: int = MODELS, seed: int = 0) -> Stack:
    bank = build_lu_net(LU_NET, SHAPE, LEVELS, models)
    assert isinstance(bank, Stack)
    randomise(bank.flow.bijection, seed)
    return bank.double()


def alone(bank: Stack, k: int) -> Stack:
    """Model k of the stack as a stack of one."""
    single = stack(models=1)
    single.load_tensors({name: tensor[k : k + 1] for name, tensor in bank.tensors().items()})
    return single


def realnvp(models: int = MODELS) -> Bank:
    bank = builder(REALNVP)(REALNVP, (4,), None, models).double().eval()
    for k, flow in enumerate(bank.each):
        randomise(flow.bijection, k)
    return bank


def items(n: int = 7, models: int = MODELS) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return LEVELS * torch.rand(models, n, *SHAPE, generator=generator, dtype=torch.float64)


def vectors(n: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(MODELS, n, 4, generator=generator, dtype=torch.float64)


def test_a_stack_equals_its_models_alone():
    bank, x = stack(), items()
    z = bank.encode(x)
    for k in range(MODELS):
        single, own = alone(bank, k), slice(k, k + 1)
        torch.testing.assert_close(bank.log_prob(x)[own], single.log_prob(x[own]))
        torch.testing.assert_close(z[own], single.encode(x[own]))
        torch.testing.assert_close(bank.decode(z)[own], single.decode(z[own]))
    torch.testing.assert_close(bank.decode(z), x.flatten(2))


@pytest.mark.parametrize("objective", ["likelihood", "published"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_models_of_a_stack_train_as_if_alone(objective, name):
    cfg = Train(LU_NET, Optimiser(name, lr=0.01, clip="l2"), objective=objective)
    bank, x = stack(), items()
    weight = torch.ones(MODELS, 7, dtype=torch.float64)
    weight[1, 4:] = 0  # padding of a smaller class
    singles = [alone(bank, k) for k in range(MODELS)]
    for banks in ([bank], singles):
        optimisers = [make_optimiser(b, cfg.optimiser) for b in banks]
        for _ in range(3):
            for k, (b, optimiser) in enumerate(zip(banks, optimisers, strict=True)):
                own = slice(None) if b is bank else slice(k, k + 1)
                optimiser.zero_grad(set_to_none=True)
                backward(b, x[own], weight[own], cfg)
                clip(b, cfg.optimiser.clip)
                optimiser.step()
    for k, single in enumerate(singles):
        for key, tensor in single.tensors().items():
            torch.testing.assert_close(bank.tensors()[key][k], tensor[0])


def test_backward_returns_the_mean_loss_of_the_items_that_count():
    bank, x = stack(), items()
    weight = torch.ones(MODELS, 7, dtype=torch.float64)
    weight[1, 4:] = 0
    expected = -bank.log_prob(x).detach()
    losses = backward(bank, x, weight, Train(LU_NET))
    torch.testing.assert_close(losses[0], expected[0].mean())
    torch.testing.assert_close(losses[1], expected[1, :4].mean())
    assert not losses.requires_grad


def test_padding_has_no_gradient():
    bank, x = stack(), items()
    weight = torch.ones(MODELS, 7, dtype=torch.float64)
    weight[:, 4:] = 0
    backward(bank, x, weight, Train(LU_NET))
    with_padding = [p.grad.clone() for p in bank.parameters()]
    bank.zero_grad()
    backward(bank, x[:, :4], weight[:, :4], Train(LU_NET))
    for a, p in zip(with_padding, bank.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
def test_clipping_is_that_of_torch_for_each_model(norm, order):
    bank = stack()
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1e-4, 1.0, 100.0], dtype=torch.float64)  # the first is small enough
    for p in bank.parameters():
        noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        p.grad = noise * scale.view(-1, *[1] * (p.dim() - 1))
    before = [p.grad.clone() for p in bank.parameters()]
    clip(bank, norm)
    for k in range(MODELS):
        copies = [torch.zeros_like(g[k]).requires_grad_() for g in before]
        for c, g in zip(copies, before, strict=True):
            c.grad = g[k].clone()
        torch.nn.utils.clip_grad_norm_(copies, 1.0, norm_type=order)
        for p, c in zip(bank.parameters(), copies, strict=True):
            torch.testing.assert_close(p.grad[k], c.grad)
    for p, g in zip(bank.parameters(), before, strict=True):
        assert torch.equal(p.grad[0], g[0])


@pytest.mark.parametrize("make", [stack, realnvp])
def test_the_tensors_of_a_bank_restore_it(make):
    bank, fresh = make(), make()
    tensors = {name: tensor.clone() for name, tensor in bank.tensors().items()}
    assert all(len(tensor) == MODELS for tensor in tensors.values())
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    fresh.load_tensors(tensors)
    assert fresh.tensors().keys() == tensors.keys()
    for name, tensor in fresh.tensors().items():
        assert torch.equal(tensor, tensors[name])
    x = items() if make is stack else vectors()
    assert torch.equal(fresh.log_prob(x), bank.log_prob(x))


def test_a_bank_of_flows_evaluates_each_on_its_own_items():
    bank, x = realnvp(), vectors()
    log_prob, z = bank.log_prob(x), bank.encode(x)
    for k, flow in enumerate(bank.each):
        torch.testing.assert_close(log_prob[k], flow.log_prob(x[k]))
        torch.testing.assert_close(z[k], flow.bijection.forward_and_logdet(x[k])[0])
    torch.testing.assert_close(bank.decode(z), x)
    assert not torch.allclose(z[0], bank.each[1].bijection.forward_and_logdet(x[0])[0])


def test_the_parts_of_a_bank_cover_all_models_once():
    for bank, x in ((stack(), items()), (realnvp(), vectors())):
        parts = bank.parts(x)
        together = [torch.atleast_2d(flow.log_prob(part)) for flow, part, _ in parts]
        torch.testing.assert_close(torch.cat(together), bank.log_prob(x))
        covered = [torch.arange(MODELS)[k].reshape(-1) for _, _, k in parts]
        assert torch.cat(covered).tolist() == list(range(MODELS))


def test_backward_of_a_bank_of_flows_is_that_of_the_stacked_losses():
    bank, x = realnvp(), vectors()
    weight = torch.ones(MODELS, 7, dtype=torch.float64)
    losses = backward(bank, x, weight, Train(REALNVP))
    torch.testing.assert_close(losses, -bank.log_prob(x).detach().mean(-1))
    ours = [p.grad.clone() for p in bank.parameters()]
    bank.zero_grad()
    (-bank.log_prob(x).mean(-1).sum() / 4).backward()
    for a, p in zip(ours, bank.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_preprocessing_ends_before_the_first_lu_layer():
    bank, x = stack(), items()
    chain = bank.links
    t = chain[1].forward_and_logdet(chain[0].forward_and_logdet(x.flatten(2))[0])[0]
    assert torch.equal(bank.preprocess(x), t)
    assert isinstance(chain[2], LULinear)
    continuous = build_lu_net(LU_NET, (4,), None, MODELS).double()
    assert isinstance(continuous, Stack)
    assert torch.equal(continuous.preprocess(vectors()), vectors())


def test_layers_and_activations_alternate_and_the_last_layer_is_linear():
    kinds = [type(link).__name__ for link in stack().links]
    body = ["LULinear", "LeakySoftplus", "LULinear", "LeakySoftplus", "LULinear"]
    assert kinds == ["Rescale", "Logit", *body]
    gaussian = build_lu_net(Model("gaussian"), SHAPE, LEVELS, 1)
    assert [type(link).__name__ for link in gaussian.each[0].bijection.links][2:] == ["LULinear"]


def test_a_new_lu_net_of_published_size_has_the_counted_parameters():
    bank = build_lu_net(Model("lu_net"), (1, 28, 28), 256, 1)
    assert sum(p.numel() for p in bank.parameters()) == 2_461_760


def test_a_copy_of_a_bank_is_independent():
    bank = stack()
    other = copy.deepcopy(bank)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert not torch.equal(next(other.parameters()), next(bank.parameters()))
    assert isinstance(other.flow, Flow)
