import pytest
import torch

from common.bijections.actnorm import ActNorm
from common.bijections.base import Chain
from common.bijections.transformer import SigmoidAffine
from common.errors import UserError
from common.flows.backprop import set_backprop
from common.flows.flow import Flow, StandardNormal
from common.flows.glow import image_flow


def small() -> Flow:
    generator = torch.Generator().manual_seed(0)
    return image_flow(
        (1, 4, 4),
        levels=2,
        steps=1,
        channels=4,
        blocks=1,
        transformer=SigmoidAffine(),
        generator=generator,
    )


@pytest.mark.parametrize("backprop", ["plain", "checkpoint", "invertible", "reuse"])
def test_a_flow_keeps_its_weights_and_their_names_and_its_density(backprop):
    flow, other = small().eval(), small()
    flow.bijection.links[1].train()
    x = 256 * torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    expected = other.eval().log_prob(x)
    assert set_backprop(flow, backprop) is flow
    assert [flow.bijection.training, flow.bijection.links[1].training] == [False, True]
    flow.eval()
    torch.testing.assert_close(flow.log_prob(x), expected)
    other.load_state_dict(flow.state_dict())  # names and shapes fit
    sample = flow.sample(2, generator=torch.Generator().manual_seed(2))
    assert torch.equal(sample, other.sample(2, generator=torch.Generator().manual_seed(2)))


def test_the_choice_may_be_changed():
    flow = small()
    links = list(flow.bijection.links)
    for backprop in ("reuse", "plain"):
        set_backprop(flow, backprop, bound=None, anchor_every=2)
        assert flow.bijection.backprop == backprop
        assert list(flow.bijection.links) == links


def test_what_is_no_chain_is_refused():
    class More(Chain):
        pass

    for bijection in (ActNorm(2), More([ActNorm(2)])):
        flow = Flow(StandardNormal((2,)), bijection)
        with pytest.raises(UserError, match=r"expected a flow whose bijection is a Chain, got"):
            set_backprop(flow, "reuse")
