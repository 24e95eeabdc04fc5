"""Chains of operators keep what every bijection promises."""

import pytest
import torch

from common.bijections.registry import Entry
from monotone_flow.chain import OperatorChain
from tests.common.bijections.test_contract import *  # noqa: F403  (its tests, on the entries here)
from tests.monotone_flow.small import normal, small_nets


def make(features, activation, layout, **settings):
    def operators():
        blocks = sum(part != "actnorm" for part in layout)
        chain = OperatorChain(layout, small_nets(features, activation, nets=blocks, **settings))
        with torch.no_grad():
            for k, scale in enumerate(chain.scales):
                scale.log_scale.copy_(0.3 * normal(2, features, seed=10 + k))
                scale.shift.copy_(normal(2, features, seed=20 + k))
                scale.started.fill_(1)
        return chain.float().eval()

    return Entry(operators, (features,), (2,))


ENTRIES = {
    "monotone": make(2, "cpila", ("monotone", "monotone")),
    "residual": make(2, "clipswish", ("residual", "residual")),
    "inverse-residual": make(3, "sine", ("inverse_residual",), concatenation=None),
    "mixed-in-1-D": make(
        1, "clipswish", ("actnorm", "monotone", "inverse_residual", "residual", "actnorm")
    ),
    "mixed-in-3-D": make(
        3, "cpila", ("actnorm", "monotone", "inverse_residual", "residual", "actnorm")
    ),
}


@pytest.fixture(params=ENTRIES.values(), ids=ENTRIES)
def entry(request: pytest.FixtureRequest) -> Entry:
    return request.param


def test_the_inverse_alone_is_that_of_inverse_and_logdet(entry):
    bijection, z = entry.make().double(), normal(2, 6, *entry.event)
    # Without log-determinants products have fewer columns, and round otherwise.
    torch.testing.assert_close(bijection.inverse(z), bijection.inverse_and_logdet(z)[0])
