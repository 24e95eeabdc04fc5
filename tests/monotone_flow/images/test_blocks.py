import copy

import pytest
import torch

from common.logdet import Estimate, Surrogate, jacobian
from common.solvers import NotConverged
from monotone_flow.images.blocks import (
    Monotone,
    Residual,
    set_estimators,
    set_source,
    standard_error,
)
from monotone_flow.images.estimators import Exact, NeumannRoulette, PowerSeries, Roulette, Source
from monotone_flow.images.lipschitz import update_norms
from tests.monotone_flow.images.small import (
    KINDS,
    SHAPE,
    SMALL,
    dense_block,
    linear_block,
    normal,
    seeded,
)

# Solves stop at a residual of 1e-12; of L = 0.95 errors are up to twenty times that, and more
# where monotone slopes of up to 39 enlarge them.
SOLVED = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def exact(block):
    set_estimators(block, training=Exact(), evaluation=Exact())
    return block


def whole_logdet(function, x):
    return torch.linalg.slogdet(jacobian(function, x, event_dims=3)).logabsdet


@pytest.mark.parametrize("bound", [0.3, 0.9, 0.95])
def test_a_saturated_linear_block_is_undone_by_its_inverse(kind, bound):
    block, x = exact(linear_block(kind, bound)), normal(5, *SHAPE)
    z, logdet = block(x)
    back, logdet_back = block.inverse_and_logdet(z)
    torch.testing.assert_close(back, x, **SOLVED)
    torch.testing.assert_close(logdet_back, -logdet, **SOLVED)
    torch.testing.assert_close(block.inverse(z), x, **SOLVED)


def test_a_saturated_dense_block_is_undone_by_its_inverse(kind):
    block, x = exact(dense_block(kind)), normal(5, *SHAPE)
    z, logdet = block(x)
    back, logdet_back = block.inverse_and_logdet(z)
    torch.testing.assert_close(back, x, **SOLVED)
    torch.testing.assert_close(logdet_back, -logdet, **SOLVED)
    forth, _ = block(block.inverse(x))
    torch.testing.assert_close(forth, x, **SOLVED)


def test_the_logdet_of_both_directions_is_that_of_the_whole_jacobian(kind):
    block, x = exact(dense_block(kind)), normal(3, *SHAPE)
    torch.testing.assert_close(block(x)[1], whole_logdet(lambda v: block(v)[0], x), **SOLVED)
    found = block.inverse_and_logdet(x)[1]
    torch.testing.assert_close(found, whole_logdet(block.inverse, x), **SOLVED)


def test_the_extreme_slopes_are_those_of_the_theory(kind):
    block = exact(linear_block(kind, 0.9))
    with torch.no_grad():  # G = -0.9 Id
        layer = block.net.layers[0]
        layer.weight.zero_()[0, 0, 1, 1] = -0.9
        layer.bias.zero_()
    update_norms(block)
    x = normal(2, *SHAPE)
    slope = {"residual": 0.1, "inverse_residual": 10.0, "monotone": 19.0}[kind]
    torch.testing.assert_close(block(x)[0], slope * x, rtol=1e-9, atol=1e-9)


def test_gradients_reach_every_parameter_and_the_input(kind):
    for training in (NeumannRoulette(), NeumannRoulette(memory_saving=False), Exact()):
        block = dense_block(kind, training=training).train()
        for direction in (block.forward_and_logdet, block.inverse_and_logdet):
            block.zero_grad()
            x = normal(4, *SHAPE).requires_grad_()
            y, logdet = direction(x)
            (y.square().sum() - logdet.sum()).backward()
            for name, tensor in [("input", x), *block.named_parameters()]:
                assert tensor.grad.isfinite().all(), name
                assert tensor.grad.abs().sum() > 0, name


def test_parameter_gradients_are_those_of_finite_differences(kind):
    block = dense_block(kind, training=Exact()).train()
    x, weights = normal(3, *SHAPE), normal(3, *SHAPE, seed=5)
    step = [normal(*p.shape, seed=i) for i, p in enumerate(block.parameters())]

    def loss():
        z, logdet = block(x)
        return (weights * z).sum() + logdet.sum()

    gradient = torch.autograd.grad(loss(), list(block.parameters()))
    slope = sum((g * s).sum() for g, s in zip(gradient, step, strict=True)).item()
    ends = []
    for h in (1e-5, -1e-5):
        moved = copy.deepcopy(block)
        with torch.no_grad():
            for p, s in zip(moved.parameters(), step, strict=True):
                p += h * s
        z, logdet = moved(x)
        ends.append(((weights * z).sum() + logdet.sum()).item())
    # Solves to 1e-12 over steps of 1e-5, and the second-order error of such a step.
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_the_memory_saving_and_the_plain_step_have_equal_gradients(kind):
    found = []
    for saving in (True, False):
        block = dense_block(kind, training=NeumannRoulette(memory_saving=saving)).train()
        for equal in (True, False):
            set_source(block, Source.seeded(3))
            x = normal(4, *SHAPE).requires_grad_()
            z, logdet = block(x)
            weights = torch.ones(4) if equal else torch.arange(1.0, 5.0)
            (z.square().sum() - (weights * logdet).sum()).backward()
        found.append([x.grad, *[p.grad for p in block.parameters()]])
    for a, b in zip(*found, strict=True):
        # Solves for gradients stop at 1e-11 of the largest incoming one.
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_the_expected_gradient_of_a_training_step_is_the_exact_one(kind):
    block = dense_block(kind, training=Exact()).train()
    x = normal(1, *SHAPE).expand(800, *SHAPE)
    leaf = x[:1].clone().requires_grad_()
    (exact_gradient,) = torch.autograd.grad(block(leaf)[1].sum(), leaf)
    set_estimators(block, training=NeumannRoulette(exact=4))
    leaf = x.clone().requires_grad_()
    (draws,) = torch.autograd.grad(block(leaf)[1].sum(), leaf)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - exact_gradient[0]).abs() < 4 * error).all()


@pytest.mark.parametrize("estimator", [Roulette(exact=3), PowerSeries(terms=40)])
def test_estimates_and_their_errors_agree_with_the_exact_logdet(kind, estimator):
    block, x = dense_block(kind, seed=2), normal(1, *SHAPE)
    truth = exact(copy.deepcopy(block))(x)[1]
    set_estimators(block, evaluation=estimator)
    many = x.expand(400, *SHAPE)
    z = block(x)[0].expand(400, *SHAPE)
    for found, sign in (
        (block.forward_and_estimate(many)[1], 1),
        (block.inverse_and_estimate(z)[1], -1),
    ):
        assert isinstance(found, Estimate)
        error = found.value.std() / 20
        assert error < 0.1  # or the next line says nothing
        assert (found.value.mean() - sign * truth).abs() < 4 * error
        # The variance of 400 values, which is known to about a tenth, is what the errors say.
        assert 0.6 < found.se.square().mean() / found.value.var() < 1.6


def test_an_estimate_says_by_its_type_what_it_is():
    block, x = dense_block("monotone"), normal(2, *SHAPE)
    assert isinstance(block.train().forward_and_estimate(x)[1], Surrogate)
    assert isinstance(block.eval().forward_and_estimate(x)[1], Estimate)
    assert isinstance(block.train().inverse_and_estimate(x)[1], Surrogate)


def test_the_standard_error_of_a_model_combines_its_blocks():
    model = torch.nn.Sequential(dense_block("monotone"), dense_block("residual", seed=1))
    x = normal(3, *SHAPE)
    expected = sum(block.forward_and_estimate(x)[1].se.square() for block in model).sqrt()
    set_source(model[0], Source.seeded(1))
    set_source(model[1], Source.seeded(1))
    for block in model:
        block(x)
    torch.testing.assert_close(standard_error(model), expected)
    assert (expected > 0).all()


def test_no_standard_error_is_made_up():
    block, x = dense_block("monotone"), normal(3, *SHAPE)
    with pytest.raises(ValueError, match="1 of 1 blocks know none"):
        standard_error(block)
    block(x)
    standard_error(block)
    block.train()(x)
    with pytest.raises(ValueError, match="in evaluation mode"):
        standard_error(block)
    set_estimators(block.eval(), evaluation=Roulette(probes=1))
    block(x)
    with pytest.raises(ValueError, match="at least two probes"):
        standard_error(block)
    block.inverse(x)
    set_estimators(block, evaluation=Exact())
    block(x)
    assert (standard_error(block) == 0).all()


def test_random_numbers_come_from_the_source_alone(kind):
    block, x = dense_block(kind), normal(3, *SHAPE)
    state = torch.random.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        set_source(block, Source.seeded(seed))
        found.append(block(x)[1])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.random.get_rng_state(), state)
    set_source(block, None)
    with pytest.raises(ValueError, match="set_source"):
        block(x)


def test_no_pass_moves_the_vectors_of_the_layers(kind):
    block = dense_block(kind).train()
    before = copy.deepcopy(block.state_dict())
    z, logdet = block(normal(3, *SHAPE))
    (z.sum() + logdet.sum()).backward()
    block.eval().inverse(z.detach())
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_a_loaded_block_computes_the_same_without_an_update(kind):
    block, x = exact(dense_block(kind)), normal(3, *SHAPE)
    fresh = exact(dense_block(kind, seed=9))
    fresh.load_state_dict(block.state_dict())
    for a, b in zip(fresh(x), block(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_works(kind, n):
    block = dense_block(kind)
    for mode in (True, False):
        block.train(mode)
        for direction in (block.forward_and_logdet, block.inverse_and_logdet):
            y, logdet = direction(normal(n, *SHAPE))
            assert y.shape == (n, *SHAPE)
            assert logdet.shape == (n,)
            (y.sum() + logdet.sum()).backward()


def test_leading_dimensions_are_all_batch(kind):
    block, x = exact(dense_block(kind)), normal(6, *SHAPE)
    z, logdet = block(x)
    nested, nested_logdet = block(x.reshape(2, 3, *SHAPE))
    torch.testing.assert_close(nested.reshape(z.shape), z)
    torch.testing.assert_close(nested_logdet.reshape(6), logdet)


def test_blocks_of_vectors_have_vectors_as_events(kind):
    net = SMALL.vector(6, seeded()).double()
    block = exact(KINDS[kind](net, event_dims=1, tolerance=1e-12))
    x = normal(5, 6)
    z, logdet = block(x)
    assert logdet.shape == (5,)
    torch.testing.assert_close(block.inverse(z), x, **SOLVED)


def test_float32_inverts_to_its_precision(kind):
    block = exact(dense_block(kind)).float()
    block.tolerance = block.backward_tolerance = 1e-6
    x = normal(5, *SHAPE).float()
    z, logdet = block(x)
    assert (z.dtype, logdet.dtype) == (torch.float32, torch.float32)
    # Tolerances of 1e-6, enlarged by slopes of up to twenty.
    torch.testing.assert_close(block.inverse(z), x, rtol=1e-4, atol=1e-4)


def test_conditioning_changes_the_map_and_is_differentiated():
    for block_type in (Residual, Monotone):
        net = SMALL.image(SHAPE, False, seeded()).double()
        block = block_type(net, tolerance=1e-12, backward_tolerance=1e-11).train()
        set_source(block, Source.seeded(1))
        x = normal(3, *SHAPE)
        extra = [normal(3, 8, 4, 4, seed=i).requires_grad_() for i in (1, 2)]
        z, logdet = block.forward_and_logdet(x, extra)
        (z.square().sum() - logdet.sum()).backward()
        assert all(e.grad.abs().sum() > 0 for e in extra)
        back, _ = block.inverse_and_logdet(z.detach(), extra)
        torch.testing.assert_close(back, x, **SOLVED)


def test_a_solve_that_needs_more_evaluations_than_allowed_is_an_error():
    block = linear_block("residual", 0.95, limit=4)
    with pytest.raises(NotConverged, match="implicit, forward"):
        block.inverse(normal(2, *SHAPE))
