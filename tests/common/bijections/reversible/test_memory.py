"""What a reversible chain keeps, counted in bytes."""

import pytest
import torch

from common.bijections.reversible import Backprop, Reversible
from common.metrics.memory import SavedBytes

from .chains import glow, seeded

DEPTHS = (4, 8, 16, 24)  # steps of each level; a line through two points would prove nothing


def saved_bytes(backprop: Backprop, steps: int) -> int:
    chain = Reversible(glow(steps).links, backprop)
    x = 256 * torch.rand(2, 2, 4, 4, generator=seeded())
    with SavedBytes([*chain.parameters(), *chain.buffers()]) as saved:
        z, logdet = chain(x)
        loss = z.square().sum() - logdet.sum()
    assert loss.isfinite()
    return saved.total


@pytest.mark.parametrize("backprop", ["invertible", "reuse"])
def test_a_reversible_chain_keeps_as_much_at_any_depth(backprop):
    """The chain has nested levels, so these cost nothing either."""
    few, many = saved_bytes(backprop, 4), saved_bytes(backprop, 64)
    assert few > 0
    assert many < 1.1 * few


def test_a_plain_chain_keeps_more_in_proportion_to_its_depth_and_checkpoints_a_small_part():
    bytes_by_depth = {
        backprop: torch.tensor([saved_bytes(backprop, k) for k in DEPTHS], dtype=torch.float64)
        for backprop in ("plain", "checkpoint")
    }
    depth = torch.tensor(DEPTHS, dtype=torch.float64)
    for found in bytes_by_depth.values():
        assert torch.corrcoef(torch.stack((depth, found)))[0, 1] ** 2 > 0.99
        assert found[-1] > 3.5 * found[0]
    assert (bytes_by_depth["checkpoint"] < 0.25 * bytes_by_depth["plain"]).all()
