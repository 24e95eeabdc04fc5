import pytest
import torch

from common.bijections.actnorm import ActNorm
from common.errors import UserError
from common.logdet import jacobian
from monotone_flow.images.architectures import Dense, Plain
from monotone_flow.images.blocks import Block, set_estimators, set_source, standard_error
from monotone_flow.images.chain import block_flow, start
from monotone_flow.images.estimators import Exact, Omit, PowerSeries, Source
from monotone_flow.images.lipschitz import Lipschitz
from tests.monotone_flow.images.small import ARCHITECTURES, KINDS, SHAPE, pixels, small_flow, widen

COLOUR = (3, 32, 32)
# The counts that the published code gives, and where printed in the paper's tables the rounded.
COUNTS = {
    "mnist": ({"shape": (1, 28, 28)}, 20_872_826),
    "cifar10": ({"shape": COLOUR}, 24_894_430),
    "imagenet32": ({"shape": COLOUR, "blocks": (32, 32, 32)}, 46_980_574),
    "imagenet64": (
        {
            "shape": (3, 64, 64),
            "blocks": (32, 32, 32),
            "squeeze_first": True,
            "factor_out": True,
        },
        48_907_888,
    ),
    "residual flow": (
        {"shape": COLOUR, "kind": "residual", "architecture": Plain()},
        25_174_129,
    ),
    # One number per dense layer more than the monotone flow: the steepness of its activation.
    "i-densenet": (
        {"shape": COLOUR, "kind": "residual", "architecture": Dense("clipswish")},
        24_894_430 + 3 * (48 + 4),
    ),
}


@pytest.mark.parametrize(("settings", "count"), COUNTS.values(), ids=COUNTS)
def test_the_published_models_have_as_many_parameters(settings, count):
    with torch.device("meta"):
        flow = block_flow(**settings)
    assert sum(parameter.numel() for parameter in flow.parameters()) == count


VARIANTS = {
    **{kind: {"kind": kind} for kind in KINDS},
    "plain": {"kind": "residual", "architecture": ARCHITECTURES["plain"]},
    "factored out": {"factor_out": True},
    "squeezed first": {"squeeze_first": True, "blocks": (1, 1)},
    "no vectors": {"vectors": False},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request):
    return request.param


def started(**settings):
    """Return a flow whose layers are at their bounds and whose ActNorms saw a batch."""
    flow = widen(small_flow(**settings))
    start(flow, pixels(16))
    set_estimators(flow, evaluation=Exact())
    return flow.eval()


def test_images_come_back_from_their_latents(variant):
    flow, x = started(**variant), pixels(3, seed=1)
    z, logdet = flow.bijection(x)
    assert z.shape == x.shape
    back, logdet_back = flow.bijection.inverse_and_logdet(z)
    # Eight blocks solve to 1e-12; slopes of up to twenty each and 256 levels enlarge the errors.
    torch.testing.assert_close(back, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet_back, -logdet, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(flow.bijection.inverse(z), x, rtol=1e-6, atol=1e-6)


def test_the_logdet_is_that_of_the_whole_jacobian(variant):
    flow, x = started(**variant), pixels(2, seed=1)
    whole = torch.linalg.slogdet(jacobian(lambda v: flow.bijection(v)[0], x, 3)).logabsdet
    torch.testing.assert_close(flow.bijection(x)[1], whole, rtol=1e-7, atol=1e-7)


def test_a_training_step_gives_every_parameter_a_gradient(variant):
    flow = small_flow(**variant).train()
    loss = -flow.log_prob(pixels(4)).mean()
    loss.backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_standard_error_covers_the_estimate():
    flow, x = started(), pixels(4, seed=1)
    exact = flow.log_prob(x)
    set_estimators(flow, evaluation=PowerSeries(terms=40, probes=24))
    set_source(flow, Source.seeded(5))
    with torch.no_grad():
        estimate = flow.log_prob(x)
    assert ((estimate - exact).abs() < 4 * standard_error(flow)).all()


def test_no_step_moves_the_vectors_of_the_layers():
    flow = small_flow().train()
    layers = [part for part in flow.modules() if isinstance(part, Lipschitz)]
    before = [(layer.u.clone(), layer.v.clone()) for layer in layers]
    flow.log_prob(pixels(4)).mean().backward()
    for layer, (u, v) in zip(layers, before, strict=True):
        assert torch.equal(layer.u, u)
        assert torch.equal(layer.v, v)


def test_a_start_normalises_the_latents_and_changes_nothing_else():
    flow = small_flow()
    set_source(flow, None)
    blocks = [part for part in flow.modules() if isinstance(part, Block)]
    before = [block.training_estimator for block in blocks]
    start(flow, pixels(50))
    assert [block.training_estimator for block in blocks] == before
    norms = [part for part in flow.modules() if isinstance(part, ActNorm)]
    assert len(norms) == 1 + 4 + 4
    assert all(norm.initialised for norm in norms)
    set_estimators(flow, evaluation=Omit())
    z, _ = flow.eval().bijection(pixels(50))
    # The last ActNorm has its own scale for each of the 16 dimensions.
    torch.testing.assert_close(z.var(0, correction=0), torch.ones_like(z[0]), rtol=1e-4, atol=0)


def test_samples_are_images():
    flow = started()
    samples = flow.sample(3, generator=torch.Generator().manual_seed(0))
    assert samples.shape == (3, *SHAPE)
    assert samples.isfinite().all()


def test_dark_and_bright_pixels_have_finite_densities():
    flow = started(alpha=1e-6)
    for value in (0.0, 256.0):
        x = torch.full((2, *SHAPE), value, dtype=torch.float64)
        assert flow.log_prob(x).isfinite().all()


def test_a_saved_flow_computes_the_same():
    flow, x = started(), pixels(3, seed=1)
    fresh = small_flow(seed=5).eval()
    set_estimators(fresh, evaluation=Exact())
    fresh.load_state_dict(flow.state_dict())
    assert torch.equal(fresh.log_prob(x), flow.log_prob(x))


def test_the_start_is_a_function_of_the_generator():
    first, second = small_flow().state_dict(), small_flow().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="halve the image 2 times, but its size is 6 x 8"):
        block_flow((1, 6, 8))
    with pytest.raises(UserError, match="0 scales"):
        block_flow((1, 8, 8), blocks=())
    with pytest.raises(UserError, match="got 'monoton'"):
        block_flow((1, 8, 8), kind="monoton")
