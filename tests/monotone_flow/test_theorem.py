"""Theorem 4 as properties: of disks, of a slow reference, and of the blocks.

Any map of rows (N, D) with its L can be put through `assert_member`; FORMS says how each way to
compute a class makes such a map of a net.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.solvers import NotConverged
from monotone_flow import saturated
from monotone_flow.blocks import KINDS, ROOT2, Kind, block
from monotone_flow.tape import Net, evaluate
from monotone_flow.theorem import Disk, Map, constant, disk, inclusion, mapped

EPS = torch.finfo(torch.float64).eps
NETS: dict[str, Callable[[int, float, torch.Generator], Net]] = {
    "plus identity": lambda d, c, g: saturated.linear(c * torch.eye(d).double()[None]),
    "minus identity": lambda d, c, g: saturated.linear(-c * torch.eye(d).double()[None]),
    "rotation": lambda d, c, g: saturated.rotations(1, d, c, g),
    "matrix": lambda d, c, g: saturated.linear(c * contraction(d, g)),
    "sines": lambda d, c, g: saturated.sines(1, d, c, g),
    "bends": lambda d, c, g: saturated.bends(1, d, c, g),
    "folds": lambda d, c, g: saturated.folds(1, d, c, g),
    "random CPila": lambda d, c, g: saturated.cpila(1, d, c, g),
}
# Each of them reaches its constant at some pair of points.
REACHING = ("plus identity", "minus identity", "rotation", "sines", "folds")


def contraction(features: int, generator: torch.Generator) -> Tensor:
    """Return a random matrix of norm one."""
    matrix = torch.randn(1, features, features, generator=generator, dtype=torch.float64)
    return matrix / torch.linalg.matrix_norm(matrix, ord=2, keepdim=True)


def rows(net: Net) -> Map:
    """Return g of a net of one model, on rows."""
    return lambda x: evaluate(net, x.mT[None], tangents=False).value[0].mT


def by_reference(kind: Kind, net: Net) -> Map:
    g = rows(net)
    scaled = (lambda u: ROOT2 * g(u / ROOT2)) if kind == "monotone" else g
    return lambda x: mapped(kind, scaled, x)


def by_block(kind: Kind, net: Net) -> Map:
    return lambda x: block(kind, net, x.mT[None], logdet=False)[0][0].mT


FORMS = {"reference": by_reference, "block": by_block}


def make(form: str, kind: Kind, net: str, d: int, lipschitz: float, seed: int) -> Map:
    """Return a map of one of NETS, for a property test."""
    # Newton's method in several dimensions is for smooth nets; published kinked ones have one.
    assume(form == "reference" or net != "folds" or d == 1)
    return FORMS[form](kind, NETS[net](d, lipschitz, generator(seed)))


features = st.integers(1, 4)
constants = st.floats(0, 0.95)
seeds = st.integers(0, 2**20)
kinds = st.sampled_from(KINDS)
forms = st.sampled_from(sorted(FORMS))
nets = st.sampled_from(sorted(NETS))
few = settings(max_examples=40, deadline=None)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(n: int, d: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return points (n, d) and others at distances from 0.01 to 10."""
    x = 2 * torch.randn(n, d, generator=g, dtype=torch.float64)
    p = torch.randn(n, d, generator=g, dtype=torch.float64)
    size = 10 ** (3 * torch.rand(n, 1, generator=g, dtype=torch.float64) - 2)
    return x, x + size * p / p.norm(dim=-1, keepdim=True)


def rounding(lipschitz: float, x: Tensor) -> float:
    """Bound the error of F(x), or of a difference of two.

    The reference stops at 64 eps (1 + |u|), where |u| may reach 2 |x| / (1 - L) and what the biases
    add, and the root's error is 1 / (1 - L) of that. The factor left is for the norm and for both
    points.
    """
    return 512 * EPS * (1 + (1 + float(x.abs().max())) / (1 - lipschitz)) / (1 - lipschitz)


def assert_member(f: Map, kind: Kind, lipschitz: float, seed: int, d: int) -> None:
    """Check a map of rows (N, D) against everything that its disk says."""
    x, other = pairs(16, d, generator(seed))
    p, q = x - other, f(x) - f(other)
    bounds, size = disk(kind, lipschitz), p.norm(dim=-1)
    slack = rounding(lipschitz, torch.cat((x, other)))
    low, high = bounds.slopes
    assert (bounds.excess(p, q) * size <= slack).all()
    assert (q.norm(dim=-1) <= high * size + slack).all()
    assert (q.norm(dim=-1) >= low * size - slack).all()
    inner = (p * q).sum(-1)
    assert (inner >= low * size**2 - slack * size).all()
    # |p x q| <= sin(angle) |p| |q|, without dividing by a |q| that may be as small as the error.
    cross = (size**2 * (q * q).sum(-1) - inner**2).clamp(min=0).sqrt()
    # The root of a difference of squares has half of the digits.
    half = math.sqrt(32 * EPS) * size * q.norm(dim=-1)
    assert (cross <= math.sin(bounds.angle) * size * q.norm(dim=-1) + slack * size + half).all()


@few
@given(kinds, forms, nets, features, constants, seeds)
def test_a_map_keeps_differences_in_the_disk_of_its_class(kind, form, net, d, lipschitz, seed):
    f = make(form, kind, net, d, lipschitz, seed)
    assert_member(f, kind, lipschitz, seed, d)


@few
@given(kinds, nets, features, constants, seeds)
def test_blocks_and_reference_are_the_same_map(kind, net, d, lipschitz, seed):
    x, _ = pairs(16, d, generator(seed))
    found, expected = (make(form, kind, net, d, lipschitz, seed)(x) for form in FORMS)
    assert (found - expected).abs().max() <= rounding(lipschitz, x)


@few
@given(kinds, forms, st.sampled_from(REACHING), st.integers(2, 4), st.floats(0.1, 0.95), seeds)
def test_saturated_nets_reach_the_circle(kind, form, net, d, lipschitz, seed):
    """Without that, the test of membership would pass for disks that are too large."""
    f = make(form, kind, net, d, lipschitz, seed)
    x = 1e-4 * torch.randn(8, d, generator=generator(seed), dtype=torch.float64)
    p, q = x[:4] - x[4:], f(x[:4]) - f(x[4:])
    # So near to the origin the sines bend by 1e-10, times (1 - L)^-2 or 400 in the ratio.
    assert disk(kind, lipschitz).excess(p, q).max() >= -1e-6
    assert disk(kind, 0.99 * lipschitz).excess(p, q).max() > 0


@few
@given(kinds, features, constants, seeds)
def test_the_disk_and_the_constant_of_g_say_the_same(kind, d, lipschitz, seed):
    """|q - c p|^2 - r^2 |p|^2 is (|G(u1) - G(u2)|^2 - L^2 |u1 - u2|^2) up to a positive factor."""
    g = generator(seed)
    p, q = torch.randn(2, 64, d, generator=g, dtype=torch.float64)
    q = q * 4 / (1 - lipschitz)
    bounds = disk(kind, lipschitz)
    inside = bounds.excess(p, q) <= 0
    close = (constant(kind, p, q) - lipschitz).abs() < 1e-12  # which side is left to rounding
    assert ((constant(kind, p, q) <= lipschitz) == inside)[~close].all()
    squares = ((q - bounds.centre * p) ** 2 - (bounds.radius * p) ** 2).sum(-1)
    across = {"residual": p, "inverse_residual": q, "monotone": p + q}[kind]
    demanded = ((p - q) ** 2 - (lipschitz * across) ** 2).sum(-1)
    factor = 1.0 if kind == "residual" else 1 / (1 - lipschitz**2)
    # Terms of order 1 / (1 - L)^3 cancel.
    scale = (1 + (p * p).sum(-1) + (q * q).sum(-1)) / (1 - lipschitz**2)
    assert ((squares - factor * demanded).abs() <= 64 * EPS * scale / (1 - lipschitz)).all()


@few
@given(features, constants, seeds)
def test_the_inner_product_form_of_monotone_maps_is_the_disk_as_well(d, lipschitz, seed):
    p, q = torch.randn(2, 64, d, generator=generator(seed), dtype=torch.float64)
    share = (1 - lipschitz**2) / (2 * (1 + lipschitz**2))
    left, right = (p * q).sum(-1), share * ((p * p).sum(-1) + (q * q).sum(-1))
    close = (left - right).abs() < 1e-12
    inside = disk("monotone", lipschitz).excess(p, q) <= 0
    assert ((left >= right) == inside)[~close].all()


@few
@given(forms, nets, features, constants, seeds)
def test_the_inverse_of_a_monotone_map_is_the_monotone_map_of_minus_g(
    form, net, d, lipschitz, seed
):
    f = make(form, "monotone", net, d, lipschitz, seed)
    back = FORMS[form]("monotone", NETS[net](d, lipschitz, generator(seed)).negative())
    x, _ = pairs(16, d, generator(seed))
    z = f(x)
    high = disk("monotone", lipschitz).slopes[1]
    assert (back(z) - x).abs().max() <= high * rounding(lipschitz, torch.cat((x, z)))
    assert_member(back, "monotone", lipschitz, seed, d)


@few
@given(forms, nets, features, constants, seeds)
def test_inverse_residual_maps_undo_residual_maps(form, net, d, lipschitz, seed):
    f = make(form, "residual", net, d, lipschitz, seed)
    back = make(form, "inverse_residual", net, d, lipschitz, seed)
    x, _ = pairs(16, d, generator(seed))
    z = f(x)
    assert (back(z) - x).abs().max() <= rounding(lipschitz, z)
    assert (f(back(x)) - x).abs().max() <= 2 * rounding(lipschitz, x)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lipschitz", [0.3, 0.8, 0.95])
def test_a_curved_map_in_three_dimensions_round_trips(form, lipschitz):
    net = saturated.bends(1, 3, lipschitz, generator(0))
    f, back = (FORMS[form]("monotone", one) for one in (net, net.negative()))
    x = torch.randn(100, 3, generator=generator(1), dtype=torch.float64)
    # The reference stops at a residual of 1e-14 (1 + |u|), whose error is 1 / (1 - L) of that.
    assert (back(f(x)) - x).abs().max() < (1e-12 if form == "block" else 1e-11)


@few
@given(features, constants, seeds)
def test_a_linear_monotone_map_is_the_cayley_transform(d, lipschitz, seed):
    j = lipschitz * contraction(d, generator(seed))
    eye = torch.eye(d, dtype=torch.float64)
    cayley = (eye - j[0]) @ torch.linalg.inv(eye + j[0])
    undone = (eye + j[0]) @ torch.linalg.inv(eye - j[0])
    x, _ = pairs(16, d, generator(seed))
    logdet = torch.linalg.slogdet(cayley)
    # The condition of I + J enters once more through the inverse and the determinant.
    slack = rounding(lipschitz, x) / (1 - lipschitz)
    assert logdet.sign == 1
    for matrix, expected, sign in ((j, cayley, 1), (-j, undone, -1)):
        z, found = block("monotone", saturated.linear(matrix), x.mT[None])
        torch.testing.assert_close(z[0].mT, x @ expected.mT, rtol=0, atol=slack)
        torch.testing.assert_close(found[0], sign * logdet.logabsdet.expand(16), rtol=0, atol=slack)
    torch.testing.assert_close(cayley @ undone, eye, rtol=0, atol=slack)


@given(constants)
def test_both_residual_disks_lie_in_the_monotone_one_of_a_smaller_constant(lipschitz):
    smaller = inclusion(lipschitz)
    assert smaller <= lipschitz
    middle, outer = disk("monotone", smaller), disk("monotone", lipschitz)
    slack = 16 * EPS * outer.centre
    for kind in ("residual", "inverse_residual"):
        # They touch: no smaller monotone class would do.
        assert middle.gap(disk(kind, lipschitz)) == pytest.approx(0, abs=slack)
        assert outer.gap(disk(kind, lipschitz)) >= -slack
    assert outer.gap(middle) >= -slack


@few
@given(forms, st.sampled_from(["residual", "inverse_residual"]), nets, features, constants, seeds)
def test_both_residual_classes_are_monotone_ones_with_a_smaller_constant(
    form, kind, net, d, lipschitz, seed
):
    f = make(form, kind, net, d, lipschitz, seed)
    assert_member(f, "monotone", inclusion(lipschitz), seed, d)


@given(st.floats(1e-3, 0.95))
def test_the_inclusions_are_strict(lipschitz):
    """(1 + L) / (1 - L) x and its inverse are monotone, and in neither of the residual classes."""
    outer, middle = disk("monotone", lipschitz), disk("monotone", inclusion(lipschitz))
    p = torch.ones(1, 1, dtype=torch.float64)
    for slope in outer.slopes:
        q = slope * p
        assert constant("monotone", p, q).item() == pytest.approx(lipschitz, rel=1e-9)
        assert constant("residual", p, q) > lipschitz
        assert constant("inverse_residual", p, q) > lipschitz
        assert middle.excess(p, q) > 0
    # In the middle class, but not in both of the residual ones.
    low, high = middle.slopes
    assert constant("residual", p, high * p) > lipschitz
    assert constant("inverse_residual", p, low * p) > lipschitz


@given(st.floats(1e-3, 0.95))
def test_equal_to_l_in_definition_3_would_leave_a_residual_map_out(lipschitz):
    """(1 + L) x asks for L / (2 + L) as a monotone map, so a class of all G with that very constant
    L does not hold it.
    """
    p = torch.ones(1, 2, dtype=torch.float64)
    q = by_reference("residual", saturated.linear(lipschitz * torch.eye(2).double()[None]))(p)
    assert constant("residual", p, q).item() == pytest.approx(lipschitz, rel=1e-12)
    needed = constant("monotone", p, q).item()
    assert needed == pytest.approx(lipschitz / (2 + lipschitz), rel=1e-12)
    assert needed < lipschitz


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lipschitz", [0.0, 0.3, 0.8, 0.95])
def test_slopes_are_extreme_at_plus_and_minus_l_times_the_identity(form, lipschitz):
    x, _ = pairs(16, 3, generator(0))
    slack = rounding(lipschitz, x)
    for kind in KINDS:
        low, high = disk(kind, lipschitz).slopes
        if kind == "monotone":
            assert high == pytest.approx((1 + lipschitz) / (1 - lipschitz), rel=1e-14)
            assert low == pytest.approx((1 - lipschitz) / (1 + lipschitz), rel=1e-14)
        # A residual map adds G, the two others subtract it.
        names = ("minus identity", "plus identity")
        lowest, highest = names if kind == "residual" else names[::-1]
        for name, slope in ((lowest, low), (highest, high)):
            f = FORMS[form](kind, NETS[name](3, lipschitz, generator(0)))
            torch.testing.assert_close(f(x), slope * x, rtol=0, atol=slack)


def test_residual_after_inverse_residual_stretches_like_one_monotone_map_but_need_not_be_one():
    """Each turns by up to arcsin L: 53 degrees at L = 0.8, and both together more than 90."""
    lipschitz = 0.8
    for kind in ("residual", "inverse_residual"):
        assert disk(kind, lipschitz).angle == pytest.approx(math.asin(lipschitz))
    turn = math.pi / 2 + math.asin(lipschitz)
    c, s = math.cos(turn), math.sin(turn)
    g = saturated.linear(lipschitz * torch.tensor([[[c, -s], [s, c]]], dtype=torch.float64))
    mirrored = saturated.linear(lipschitz * torch.tensor([[[c, s], [-s, c]]], dtype=torch.float64))
    x, other = pairs(16, 2, generator(0))
    f, first = by_reference("residual", g), by_reference("inverse_residual", mirrored)
    p, q = x - other, f(first(x)) - f(first(other))
    low, high = disk("monotone", lipschitz).slopes
    ratio = q.norm(dim=-1) / p.norm(dim=-1)
    assert ((ratio >= low) & (ratio <= high)).all()
    cosine = (p * q).sum(-1) / p.norm(dim=-1) / q.norm(dim=-1)
    expected = math.cos(2 * math.asin(lipschitz))
    # Pairs at distance 0.01 leave thirteen digits.
    torch.testing.assert_close(cosine, torch.full_like(cosine, expected), rtol=0, atol=1e-10)
    assert expected < 0 < math.cos(disk("monotone", lipschitz).angle)


def test_the_disks_of_the_third_figure_have_the_published_sizes():
    found = [disk(kind, 0.8) for kind in ("residual", "inverse_residual", "monotone")]
    expected = [Disk(1.0, 0.8), Disk(2.778, 2.222), Disk(4.556, 4.444)]
    for mine, known in zip(found, expected, strict=True):
        assert mine.centre == pytest.approx(known.centre, abs=5e-4)
        assert mine.radius == pytest.approx(known.radius, abs=5e-4)
    radii = [disk("monotone", lipschitz).radius for lipschitz in (0.3, 0.8, 0.95)]
    assert radii == pytest.approx([0.6593, 4.4444, 19.4872], abs=5e-5)


@given(constants)
def test_the_largest_angle_of_a_monotone_map_stays_below_ninety_degrees(lipschitz):
    angle = disk("monotone", lipschitz).angle
    # arcsin is steep near to one: rounding of 1e-16 moves it by 1e-16 / cos(angle).
    assert angle == pytest.approx(2 * math.atan(lipschitz), abs=1e-13)
    assert angle < math.pi / 2


def test_a_random_net_stays_far_below_its_bound():
    """So that nothing above is taken to be shown by random nets."""
    net = saturated.cpila(1, 2, 0.85, generator(0))
    x, other = pairs(2000, 2, generator(1))
    p, q = x - other, by_reference("residual", net)(x) - by_reference("residual", net)(other)
    assert constant("residual", p, q).max() < 0.5 * 0.85


@pytest.mark.parametrize("lipschitz", [-0.1, 1.0, math.nan])
def test_a_constant_outside_of_0_to_1_is_refused(lipschitz):
    with pytest.raises(ValueError, match=r"expected a Lipschitz constant in \[0, 1\)"):
        disk("monotone", lipschitz)


def test_the_reference_refuses_what_does_not_converge():
    x = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(NotConverged, match="after 51 calls of G"):
        mapped("monotone", lambda u: 1.0 * u, x, limit=51)
    with pytest.raises(NotConverged, match="residual nan"):
        mapped("monotone", lambda u: u * torch.nan, x, limit=5)
