"""The network keeps what every bijection promises, and is built as published."""

import pytest
import torch
from torch import Tensor

from common.bijections.base import Bijection
from common.bijections.conditional import Coupling
from common.bijections.registry import Entry
from inverse_problems.supervised.config import Model
from inverse_problems.supervised.model import Layout, build, chain_of
from tests.common.bijections.test_contract import *  # noqa: F403  (its tests, on the entries here)

SMALL = Model(blocks=2, width=6, hidden=2, clamp=2.0, init=0.3)


def make(total: int, models: int) -> Entry:
    def chain() -> Bijection:
        return chain_of(build(SMALL, Layout(1, 1, 1, total), models, 0)).eval()

    return Entry(chain, (total,), (models,))


ENTRIES = {"even": make(4, 2), "odd": make(5, 1), "two": make(2, 3)}


@pytest.fixture(params=ENTRIES.values(), ids=ENTRIES)
def entry(request: pytest.FixtureRequest) -> Entry:
    return request.param


def test_a_block_changes_both_halves_one_after_the_other():
    stack = build(Model(blocks=1, width=6, clamp=2.0, init=0.5), Layout(4, 1, 1, 4), 1, 0).double()
    first, second, permutation = list(chain_of(stack).links)
    assert isinstance(first, Coupling)
    assert isinstance(second, Coupling)
    x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def moved(net: torch.nn.Module, change: Tensor, keep: Tensor) -> Tensor:
        s, t = net(keep).chunk(2, -1)
        return change * torch.exp(2.0 * 0.636 * torch.atan(s)) + t

    left = moved(first.conditioner, x[..., :2], x[..., 2:])
    right = moved(second.conditioner, x[..., 2:], left)
    expected = torch.cat((left, right), -1)[..., permutation.permutation]
    torch.testing.assert_close(chain_of(stack)(x)[0], expected)


def test_all_parameters_start_from_one_normal():
    stack = build(Model(blocks=3, width=64, init=0.2), Layout(2, 8, 2, 10), 2, 0)
    numbers = torch.cat([p.detach().flatten() for p in stack.parameters()])
    # Four standard errors of a standard deviation and of a mean.
    assert numbers.std().item() == pytest.approx(0.2, rel=4 / (2 * len(numbers)) ** 0.5)
    assert abs(numbers.mean().item()) < 4 * 0.2 / len(numbers) ** 0.5


def test_the_start_is_a_function_of_the_seed_and_models_differ():
    layout = Layout(2, 8, 2, 10)
    first, again, other = (build(SMALL, layout, 2, seed).tensors() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert not any(torch.equal(tensor[0], tensor[1]) for tensor in first.values())


def test_outputs_are_latents_padding_and_observation():
    layout = Layout(x=2, y=3, z=2, total=7)
    assert (layout.pad_x, layout.pad) == (5, 2)
    z, pad, y = layout.parts(torch.arange(7.0))
    assert (z.tolist(), pad.tolist(), y.tolist()) == ([0, 1], [2, 3], [4, 5, 6])


@pytest.mark.parametrize("layout", [(5, 1, 1, 4), (1, 3, 2, 4)])
def test_a_network_narrower_than_an_end_is_refused(layout: tuple[int, int, int, int]):
    with pytest.raises(ValueError, match="a network of 4 features holds neither"):
        Layout(*layout)
