import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from common.bijections.conditional import Autoregressive, Coupling
from common.bijections.lu import LULinear
from common.bijections.permutation import Permutation
from common.bijections.splines import LinearRational
from common.errors import UserError
from common.flows.bank import Bank, Stack
from lrs_flow.config import Model
from lrs_flow.items import Items
from lrs_flow.model import build, fit_gaussian, layer, parameter_count
from tests.lrs_flow.small import COUPLING, IMAGE, IMAGES, LEVELS, images, model, normal, vectors

K, B, D = 3, 5, 4
CPU = torch.device("cpu")
COUPLINGS: dict[str, Any] = {
    "power": {"steps": 10, "hidden": 256, "blocks": 2, "bins": 8},
    "gas": {"steps": 10, "hidden": 256, "blocks": 2, "bins": 8},
    "hepmass": {"steps": 20, "hidden": 128, "blocks": 1, "bins": 8},
    "miniboone": {"steps": 10, "hidden": 32, "blocks": 1, "bins": 4},
    "bsds300": {"steps": 20, "hidden": 128, "blocks": 1, "bins": 8},
}
AUTOREGRESSIVE: dict[str, Any] = {
    "power": {"hidden": 256, "blocks": 2, "bins": 8},
    "gas": {"hidden": 256, "blocks": 2, "bins": 8},
    "hepmass": {"hidden": 256, "blocks": 2, "bins": 8},
    "miniboone": {"hidden": 64, "blocks": 1, "bins": 4},
    "bsds300": {"hidden": 512, "blocks": 2, "bins": 8},
}
FEATURES = {"power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63}
RINGS: dict[str, Any] = {
    "hidden": 32,
    "blocks": 2,
    "bins": 64,
    "bound": 5.0,
    "batch_norm": True,
    "linear": False,
    "unconditional": False,
}
PICTURE: dict[str, Any] = {
    "steps": 2,
    "hidden": 64,
    "blocks": 2,
    "tails": False,
    "linear": False,
    "unconditional": False,
}


# The numbers of parameters are those of the published classes, instantiated.


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("lrs", (2_882_322, 2_965_192, 1_545_922, 158_782, 3_367_252)),
        ("rq", (2_820_402, 2_882_632, 1_327_522, 129_542, 2_712_052)),
        ("q", (2_758_482, 2_800_072, 1_109_122, 100_302, 2_056_852)),
        ("affine", (2_657_802, 2_665_832, 753_802, 63_322, 990_892)),
    ],
)
def test_couplings_of_tables_are_as_large_as_published(kind: Any, counts: tuple[int, ...]):
    for (name, sizes), count in zip(COUPLINGS.items(), counts, strict=True):
        assert parameter_count(Model(kind, **sizes), (FEATURES[name],), None) == count, name


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("lrs", (3_128_082, 3_292_872, 4_366_152, 551_422, 20_897_162)),
        ("rq", (3_004_722, 3_128_392, 3_934_392, 439_622, 18_311_642)),
    ],
)
def test_autoregressive_models_of_tables_are_as_large_as_published(
    kind: Any, counts: tuple[int, ...]
):
    for (name, sizes), count in zip(AUTOREGRESSIVE.items(), counts, strict=True):
        cfg = Model(kind, "autoregressive", **sizes)
        assert parameter_count(cfg, (FEATURES[name],), None) == count, name


@pytest.mark.parametrize(
    ("kind", "steps", "count"),
    [("lrs", 10, 129_590), ("rq", 10, 108_470), ("lrs", 2, 25_918), ("rq", 2, 21_694)],
)
def test_models_of_the_rings_are_as_large_as_published(kind: Any, steps: int, count: int):
    assert parameter_count(Model(kind, steps=steps, **RINGS), (2,), None) == count


@pytest.mark.parametrize(
    ("kind", "bins", "count"), [("lrs", 64, 66_946), ("rq", 64, 58_626), ("rq", 128, 83_586)]
)
def test_models_of_the_picture_are_as_large_as_published(kind: Any, bins: int, count: int):
    assert parameter_count(Model(kind, bins=bins, **PICTURE), (2,), None) == count


# How they are built


def test_each_step_permutes_mixes_and_couples_and_one_more_mixing_ends_the_flow():
    bank = build(COUPLING, (D,), None, K, 0)
    kinds = [type(link) for link in bank.each[0].bijection.links]
    mixing = [Permutation, LULinear]
    assert kinds == [*mixing, Coupling, *mixing, Coupling, *mixing]


def test_couplings_change_even_and_odd_features_in_turn():
    for step, changed in ((0, [0, 2, 4]), (1, [1, 3]), (2, [0, 2, 4])):
        made = layer(COUPLING, 5, K, step)
        assert isinstance(made, Coupling)
        assert made.changed.tolist() == changed


def test_published_scales_of_the_logits_are_kept():
    # By the root of the width in couplings, not at all where the published networks hide it.
    made = layer(Model("lrs", hidden=16), D, K, 0)
    assert isinstance(made, Coupling)
    assert isinstance(made.transformer, LinearRational)
    assert isinstance(made.unconditional, LinearRational)
    assert made.transformer.logit_scale == 0.25
    assert made.unconditional.logit_scale == 1
    free = layer(Model("lrs", "autoregressive", hidden=16), D, K, 0)
    assert isinstance(free, Autoregressive)
    assert isinstance(free.transformer, LinearRational)
    assert free.transformer.logit_scale == 1


@pytest.mark.parametrize(("kind", "unconditional"), [("lrs", False), ("affine", True)])
def test_some_couplings_leave_the_kept_features_alone(kind: Any, unconditional: bool):
    made = layer(Model(kind, unconditional=unconditional), D, K, 0)
    assert isinstance(made, Coupling)
    assert made.unconditional is None


def test_permutations_are_a_function_of_seed_and_step():
    def orders(seed: int) -> list[list[int]]:
        bank = build(COUPLING, (16,), None, 1, seed)
        parts = [part for part in bank.modules() if isinstance(part, Permutation)]
        return [part.permutation.tolist() for part in parts]

    assert orders(1) == orders(1)
    assert all(a != b for a, b in zip(orders(1), orders(2), strict=True))
    assert len({tuple(order) for order in orders(1)}) == 3


def test_models_start_apart_and_with_the_global_seed():
    def start() -> dict[str, Tensor]:
        torch.manual_seed(5)
        return build(COUPLING, (D,), None, K, 0).tensors()

    first, second = start(), start()
    assert all(torch.equal(first[name], second[name]) for name in first)
    drawn = [t for name, t in first.items() if name.endswith("weight") and t[0].dim() == 2]
    assert drawn
    assert all(not torch.equal(t[0], t[1]) for t in drawn)


# What they compute

KINDS = {
    "coupling": COUPLING,
    "quadratic": Model("q", steps=2, hidden=8, bins=3),
    "affine": Model("affine", steps=2, hidden=8),
    "autoregressive": Model("rq", "autoregressive", steps=2, hidden=8, bins=3),
    "unit square": Model("lrs", steps=2, hidden=8, bins=3, tails=False, linear=False),
    "gaussian": Model("gaussian"),
}


def alone(cfg: Model, bank: Bank, k: int) -> Bank:
    """Return one model of a stack."""
    single = build(cfg, (D,), None, 1, 0)
    single.double().eval()
    single.load_tensors({name: tensor[k : k + 1] for name, tensor in bank.tensors().items()})
    return single


@pytest.mark.parametrize("name", KINDS)
def test_a_stack_is_its_models_run_alone(name: str):
    cfg = KINDS[name]
    stacked = model(cfg, vectors(features=D), K)
    x = torch.sigmoid(normal(K, B, D))
    found = stacked.log_prob(x)
    for k in range(K):
        expected = alone(cfg, stacked, k).log_prob(x[k : k + 1])
        torch.testing.assert_close(found[k : k + 1], expected)


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_of_one_model_reaches_all_its_parameters_and_no_other(name: str):
    stacked = model(KINDS[name], vectors(features=D), K)
    stacked.log_prob(torch.sigmoid(normal(K, 50, D)))[1].sum().backward()
    for parameter_name, parameter in stacked.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool((parameter.grad[[0, 2]] == 0).all()), parameter_name
        assert bool((parameter.grad[1] != 0).any()), parameter_name


@pytest.mark.parametrize("name", KINDS)
def test_samples_come_back_to_their_latents(name: str):
    bank = model(KINDS[name], vectors(features=D), K)
    x = bank.sample(20, torch.Generator().manual_seed(0))
    assert x.shape == (K, 20, D)
    (flow,) = bank.each
    z, logdet = flow.bijection.forward_and_logdet(x)
    latents = flow.base.sample((K, 20), x, torch.Generator().manual_seed(0))
    back, inverse = flow.bijection.inverse_and_logdet(z)
    # Bins may have slopes of 1e-3, one after the other.
    torch.testing.assert_close(z, latents, rtol=0, atol=1e-8)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(inverse, -logdet, rtol=0, atol=1e-6)


def test_ffjord_stacks_too():
    cfg = Model("ffjord", steps=1, hidden=2, blocks=2, atol=1e-9, rtol=1e-9)
    stacked = model(cfg, vectors(features=D), K)
    x = normal(K, B, D)
    found = stacked.log_prob(x)
    for k in range(K):
        # The solver's steps are chosen for all models together.
        expected = alone(cfg, stacked, k).log_prob(x[k : k + 1])
        torch.testing.assert_close(found[k : k + 1], expected, rtol=0, atol=1e-6)


def test_splines_on_the_unit_square_have_a_density_there_that_integrates_to_one():
    cfg = Model("lrs", steps=2, hidden=8, bins=2, tails=False, linear=False)
    bank = model(cfg, vectors(features=2), 1)
    axis = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    density = bank.log_prob(torch.cartesian_prod(axis, axis)[None]).exp()
    # The midpoint rule on 200 x 200 cells; the density has kinks.
    assert density.mean().item() == pytest.approx(1, abs=3e-3)
    x = bank.sample(1000, torch.Generator().manual_seed(0))
    assert bool(((x >= 0) & (x <= 1)).all())


# The Gaussian


@pytest.mark.parametrize("shared", [True, False])
def test_the_gaussian_in_closed_form_has_the_maximum_likelihood(shared: bool):
    sizes = (40,) * K if shared else (40, 25, 31)
    folds = [vectors((n, 3, 6), D, seed=k) for k, n in enumerate(sizes)]
    for fold in folds:  # correlated, scaled and shifted
        mix = normal(D, D, seed=9)
        fold.train.x.copy_(fold.train.x @ mix + 3)
        fold.test.x.copy_(fold.test.x @ mix + 3)
    given = folds[:1] if shared else folds
    items = Items.of(given, "train", K, CPU, torch.float64)
    bank = build(Model("gaussian"), (D,), None, K, 0).double()
    fit_gaussian(bank, items.x, items.mask(torch.arange(items.x.shape[1])))
    for k in range(K):
        fold = given[0] if shared else folds[k]
        x = fold.train.x
        peer = MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))
        found = bank.log_prob(fold.test.x.expand(K, -1, -1))[k]
        torch.testing.assert_close(found, peer.log_prob(fold.test.x))
        # The mean log-likelihood of the own data: -1/2 (D ln 2 pi e + ln det C).
        own = bank.log_prob(x.expand(K, -1, -1))[k].mean().item()
        volume = torch.logdet(torch.cov(x.T, correction=0)).item()
        assert own == pytest.approx(-0.5 * (D * math.log(2 * math.pi * math.e) + volume))


# Images


def test_models_of_images_are_apart_from_each_other():
    bank = model(IMAGES, images(), 2)
    assert not isinstance(bank, Stack)
    x = images().test.x.double().expand(2, -1, -1, -1, -1)
    found = bank.log_prob(x)
    assert found.shape == (2, 7)
    for flow, row in zip(bank.each, found, strict=True):
        torch.testing.assert_close(flow.log_prob(x[0]), row)
    a, b = (dict(flow.named_buffers()) for flow in build(IMAGES, IMAGE, LEVELS, 2, 0).each)
    orders = [(a[name], b[name]) for name in a if name.endswith("permutation")]
    assert orders
    assert any(not torch.equal(*pair) for pair in orders)


def test_models_of_images_are_a_function_of_their_seed_and_number():
    first, second, other = (build(IMAGES, IMAGE, LEVELS, 2, seed).tensors() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    one = build(IMAGES, IMAGE, LEVELS, 1, 1).tensors()
    assert all(torch.equal(one[name][0], first[name][0]) for name in one)


@pytest.mark.parametrize(
    ("cfg", "got"),
    [
        (Model("ffjord"), "got ffjord, coupling"),
        (Model("gaussian"), "got gaussian, coupling"),
        (Model("lrs", "autoregressive"), "got lrs, autoregressive"),
    ],
)
def test_a_model_that_takes_no_images_is_refused(cfg: Model, got: str):
    with pytest.raises(UserError, match=got):
        build(cfg, IMAGE, LEVELS, 1, 0)


def test_parameters_are_counted_for_one_model():
    for cfg, shape, levels in ((COUPLING, (D,), None), (IMAGES, IMAGE, LEVELS)):
        three = build(cfg, shape, levels, 3, 0).parameters()
        counted = 3 * parameter_count(cfg, shape, levels)
        assert counted == sum(math.prod(p.shape) for p in three)


@pytest.mark.parametrize("kind", ["lrs", "rq", "q", "affine"])
@pytest.mark.parametrize("of", ["coupling", "autoregressive"])
def test_a_flow_can_start_as_the_identity(kind, of):
    torch.manual_seed(0)
    cfg = Model(kind=kind, layer=of, steps=3, hidden=8, bins=4, start="identity")
    bank = build(cfg, (5,), None, 2, 0).double()
    x = torch.randn(2, 20, 5, dtype=torch.float64)
    z, logdet = bank.each[0].bijection.forward_and_logdet(x)
    # The permutations stay; the identity's parameters are rounded to float32.
    torch.testing.assert_close(z.sort(-1).values, x.sort(-1).values, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet, torch.zeros_like(logdet), rtol=0, atol=1e-5)
