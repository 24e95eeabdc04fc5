import copy

import pytest
import torch
from torch import nn

from common.bijections.base import Chain
from common.bijections.batch_norm import RunningBatchNorm
from common.bijections.coupling import AffineCoupling
from common.errors import UserError
from common.flows.realnvp import realnvp_image, realnvp_vector

DIGITS = (1, 8, 8)


def small_image():
    return realnvp_image((1, 4, 4), planes=3, final=2)


def two_scales():
    return realnvp_image((1, 8, 8), planes=2, couplings=12, final=1)


def vector():
    return realnvp_vector(features=3, couplings=4, width=8)


FLOWS = {"image": small_image, "two scales": two_scales, "vector": vector}


def batch(n, event, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *event, generator=generator, dtype=torch.float64)


def randomised(make, seed=1):
    """Return the flow in float64 and evaluation mode, away from its start: scales, statistics."""
    generator = torch.Generator().manual_seed(seed)
    flow = make().double().eval()
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    for module in flow.modules():
        if isinstance(module, RunningBatchNorm):
            nn.init.normal_(module.mean, std=0.5, generator=generator)
            nn.init.uniform_(module.var, 0.5, 2.0, generator=generator)
    return flow


@pytest.fixture(params=FLOWS.values(), ids=FLOWS)
def flow(request):
    return randomised(request.param)


def parameters(flow):
    return sum(parameter.numel() for parameter in flow.parameters())


@pytest.mark.parametrize(
    ("couplings", "final", "expected"),
    [(6, 2, 4_198_224), (6, 3, 5_388_264), (6, 4, 6_578_304), (12, 4, 28_065_504)],
)
def test_the_parameter_counts_are_the_published_ones(couplings, final, expected):
    assert parameters(realnvp_image((1, 28, 28), 64, couplings, final)) == expected


def test_the_default_model_is_the_one_of_the_published_table():
    assert parameters(realnvp_image((1, 28, 28))) == 5_388_264


def test_every_coupling_is_followed_by_a_norm_with_the_published_settings():
    flow = realnvp_image((1, 28, 28), planes=2)
    kinds = [m for m in flow.modules() if isinstance(m, AffineCoupling | RunningBatchNorm)]
    assert len(kinds) == 18
    for coupling, norm in zip(kinds[::2], kinds[1::2], strict=True):
        assert isinstance(coupling, AffineCoupling)
        assert isinstance(norm, RunningBatchNorm)
        assert (norm.momentum, norm.eps) == (0.005, 1e-5)
    events = [tuple(coupling.mask.shape) for coupling in kinds[::2]]
    assert events == [(1, 28, 28)] * 3 + [(4, 14, 14)] * 3 + [(2, 14, 14)] * 3


def test_the_vector_flow_standardises_the_data_and_has_no_norm_between_couplings():
    first, *rest = vector().bijection.links
    assert isinstance(first, RunningBatchNorm)
    assert len(rest) == 4
    assert all(isinstance(link, AffineCoupling) for link in rest)


def test_couplings_of_one_resolution_alternate_their_masks():
    masks = [m.mask for m in two_scales().modules() if isinstance(m, AffineCoupling)]
    for group in (masks[:3], masks[3:6], masks[6:9], masks[9:12]):
        assert torch.equal(group[0], 1 - group[1])
        assert torch.equal(group[0], group[2])


def test_the_round_trip_returns_the_input_in_both_directions(flow):
    x = batch(4, flow.base.event)
    z, logdet = flow.bijection(x)
    assert z.shape == x.shape
    back, inverse_logdet = flow.bijection.inverse_and_logdet(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_logdet, -logdet)
    torch.testing.assert_close(flow.bijection(flow.bijection.inverse_and_logdet(x)[0])[0], x)


def test_the_logdet_is_that_of_autograd(flow):
    for x in batch(2, flow.base.event):
        z, logdet = flow.bijection(x)
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.bijection(v)[0], x)
        square = jacobian.reshape(z.numel(), x.numel())
        torch.testing.assert_close(logdet, torch.linalg.slogdet(square).logabsdet)


def test_gradients_reach_every_parameter(flow):
    flow.log_prob(batch(4, flow.base.event)).sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_works(flow, n, mode):
    flow.train(mode)
    x = batch(n, flow.base.event)
    assert flow.log_prob(x).shape == (n,)
    assert flow.bijection(x)[0].shape == x.shape
    torch.testing.assert_close(flow.bijection.inverse_and_logdet(flow.bijection(x)[0])[0], x)
    assert all(value.isfinite().all() for value in flow.state_dict().values())
    assert flow.sample(n, generator=torch.Generator().manual_seed(0)).shape == x.shape


@pytest.mark.parametrize("size", [1e-30, 1e5])
def test_extreme_inputs_stay_finite_in_float32(flow, size):
    # log p itself squares the latents; of the map, both directions must stay finite.
    x = size * batch(4, flow.base.event).float()
    flow.float()
    for result, logdet in (flow.bijection(x), flow.bijection.inverse_and_logdet(x)):
        assert result.isfinite().all()
        assert logdet.isfinite().all()


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_a_new_flow_is_the_identity_but_for_the_epsilon_of_its_norms(make):
    flow = make().double().eval()
    x = batch(4, flow.base.event)
    z, logdet = flow.bijection(x)
    # Each norm divides by sqrt(1 + 1e-5): at most 13 of them, 64 entries.
    torch.testing.assert_close(z, x, rtol=1e-4, atol=0)
    assert (logdet.abs() < 64 * 13 * 1e-5).all()


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_a_loaded_flow_computes_the_same(make, tmp_path):
    flow = randomised(make)
    torch.save(flow.state_dict(), tmp_path / "flow.pt")
    fresh = make().double().eval()
    fresh.load_state_dict(torch.load(tmp_path / "flow.pt", weights_only=True))
    x = batch(4, flow.base.event)
    assert torch.equal(fresh.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_training_follows_the_data_and_evaluation_changes_nothing(make):
    flow = randomised(make)
    x = batch(8, flow.base.event)
    before = copy.deepcopy(flow.state_dict())
    flow.log_prob(x)
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())
    flow.train()
    flow.log_prob(x)
    moved = {name for name, value in flow.state_dict().items() if not value.equal(before[name])}
    assert moved == {name for name, _ in flow.named_buffers() if name.endswith(("mean", "var"))}


def test_an_empty_batch_in_training_moves_no_statistics(flow):
    before = copy.deepcopy(flow.state_dict())
    flow.train().log_prob(batch(0, flow.base.event))
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_the_initial_weights_are_a_function_of_the_generator(make):
    def built(seed):
        generator = torch.Generator().manual_seed(seed)
        if make is vector:
            return realnvp_vector(3, 4, 8, generator=generator).state_dict()
        return realnvp_image((1, 4, 4), 3, generator=generator).state_dict()

    first, again, other = built(0), built(0), built(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = [name for name in first if name.endswith("weight")]
    assert weights
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_the_digits_model_fits_better_after_a_few_steps():
    flow = realnvp_image(DIGITS, planes=4, generator=torch.Generator().manual_seed(0))
    x = 2 * batch(32, DIGITS).float().cumsum(-1)  # neighbouring pixels are dependent
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    first = -flow.log_prob(x).mean()
    for _ in range(10):
        loss = -flow.log_prob(x).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.8 * first
    samples = flow.sample(3, generator=torch.Generator().manual_seed(0))
    assert samples.shape == (3, *DIGITS)
    assert samples.isfinite().all()


def test_a_state_fits_only_the_architecture_it_came_from():
    with pytest.raises(RuntimeError, match="size mismatch"):
        small_image().load_state_dict(realnvp_image((1, 4, 4), planes=4, final=2).state_dict())


def test_the_printed_flow_has_one_line_per_network():
    text = repr(realnvp_image((1, 28, 28), planes=16))
    assert "s_net): ResidualConvNet(1 channels, 16 planes)" in text
    assert "t_net): ResidualConvNet(2 channels, 32 planes)" in text
    assert "event=(4, 14, 14)" in text
    assert "RunningBatchNorm(4, momentum=0.005, eps=1e-05)" in text
    assert len(text.splitlines()) < 100


@pytest.mark.parametrize(("couplings", "final"), [(0, 3), (5, 3), (6, 0), (-6, 1)])
def test_couplings_that_form_no_scales_are_refused(couplings, final):
    with pytest.raises(UserError, match=f"got couplings = {couplings} and final = {final}"):
        realnvp_image((1, 28, 28), 4, couplings, final)


@pytest.mark.parametrize(("size", "couplings"), [(28, 18), (4, 12), (7, 6)])
def test_an_image_that_cannot_be_halved_often_enough_is_refused(size, couplings):
    with pytest.raises(UserError, match=rf"{couplings} couplings halve .* {size} x {size}"):
        realnvp_image((1, size, size), 4, couplings)


def test_too_few_features_or_couplings_are_refused():
    with pytest.raises(UserError, match="got 1 features and 8 couplings"):
        realnvp_vector(features=1)
    with pytest.raises(UserError, match="got 2 features and 0 couplings"):
        realnvp_vector(couplings=0)


def test_the_latents_of_all_scales_share_one_chain():
    assert isinstance(two_scales().bijection, Chain)
    assert two_scales().base.event == (1, 8, 8)


def test_norms_in_evaluation_mode_stay_frozen_while_the_rest_trains():
    flow = randomised(small_image).train()
    norms = [module for module in flow.modules() if isinstance(module, RunningBatchNorm)]
    for norm in norms:
        norm.eval()
    before = [norm.var.clone() for norm in norms]
    flow.log_prob(batch(4, flow.base.event)).sum().backward()
    assert all(torch.equal(norm.var, var) for norm, var in zip(norms, before, strict=True))
    assert all(parameter.grad.abs().sum() > 0 for parameter in flow.parameters())
