import pytest
import torch

from inverse_problems.operators.gaussian import GaussianOperator
from inverse_problems.operators.grouped import Grouped
from inverse_problems.operators.identity import Identity
from inverse_problems.operators.separable import average_pooling

SHAPE = (1, 4, 6)


def gaussians(*sizes: int) -> list[GaussianOperator]:
    return [
        GaussianOperator(SHAPE, m, torch.Generator().manual_seed(k), torch.float64)
        for k, m in enumerate(sizes)
    ]


def images(n: int) -> torch.Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


KINDS = {
    "one product": lambda: gaussians(20, 24, 18),
    "in turns": lambda: gaussians(5, 24, 3),
    "not only matrices": lambda: [*gaussians(5, 24), average_pooling(SHAPE, 2).double()],
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_group_is_measured_by_its_own_operator(kind):
    operators = KINDS[kind]()
    grouped = Grouped(operators)
    x = images(6)
    y = grouped(x)
    assert y.shape == (6, 24)
    back, inverse = grouped.adjoint(y), grouped.pseudo_inverse(y)
    for g, operator in enumerate(operators):
        rows = slice(2 * g, 2 * g + 2)
        alone = operator(x[rows])
        expected = torch.zeros(2, 24, dtype=torch.float64)
        expected[:, : operator.m] = alone.flatten(1)
        torch.testing.assert_close(y[rows], expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(back[rows], operator.adjoint(alone), rtol=0, atol=1e-13)
        torch.testing.assert_close(inverse[rows], operator.pseudo_inverse(alone), rtol=0, atol=1e-9)


def test_little_padding_makes_one_product_and_much_takes_turns_on_a_cpu(monkeypatch):
    products = []

    def bmm(*factors):
        products.append(factors)
        return torch.matmul(*factors)

    monkeypatch.setattr(torch, "bmm", bmm)
    Grouped(KINDS["in turns"]())(images(3))
    assert not products
    Grouped(KINDS["one product"]())(images(3))
    assert len(products) == 1


def test_matrices_are_stacked_and_nothing_is_held_twice():
    grouped = Grouped(gaussians(5, 24))
    assert [tuple(b.shape) for b in grouped.buffers()] == [(2, 24, 24)]
    assert torch.equal(grouped.group(0).matrix, gaussians(5)[0].matrix)
    assert len(Grouped([*gaussians(5), Identity(SHAPE)]).operators) == 2


def test_the_mask_tells_measurements_from_padding():
    grouped = Grouped(gaussians(2, 4, 3))
    assert grouped.counts(6).tolist() == [2, 2, 4, 4, 3, 3]
    expected = [[True, True, False, False], [True] * 4, [True, True, True, False]]
    assert grouped.mask(3).tolist() == expected
    y = grouped(images(3))
    assert torch.equal(y != 0, grouped.mask(3))


def test_noise_in_the_padding_reaches_no_image():
    grouped = Grouped(gaussians(5, 20))
    y = grouped(images(2))
    spoilt = torch.where(grouped.mask(2), y, 1e3)
    assert torch.equal(grouped.adjoint(spoilt), grouped.adjoint(y))
    assert torch.equal(grouped.pseudo_inverse(spoilt), grouped.pseudo_inverse(y))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected operators of one shape"):
        Grouped([Identity((1, 4, 6)), Identity((1, 6, 4))])
    with pytest.raises(ValueError, match="expected operators of one shape"):
        Grouped([])
    for call in (Grouped(gaussians(2, 3)).counts, Grouped(gaussians(2, 3)).mask):
        with pytest.raises(ValueError, match="a multiple of 2, got 5"):
            call(5)
