import shutil
from functools import partial

import pytest
import torch

from common.bijections.splines import LinearRational, Quadratic, RationalQuadratic, backend
from common.bijections.splines.backend import backend_for, use_backend
from common.bijections.splines.flat import on_flat
from tests.common.bijections.splines.kinds import draw

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs the compiler g++")
MANY = torch.zeros(100)


def test_the_default_is_eager_and_a_choice_ends_with_its_block(monkeypatch):
    monkeypatch.setattr(backend, "_has_compiler", lambda: True)
    assert backend_for(MANY) == "eager"
    with use_backend("compiled"):
        assert backend_for(MANY) == "compiled"
        with use_backend("eager"):
            assert backend_for(MANY) == "eager"
        assert backend_for(MANY) == "compiled"
    assert backend_for(MANY) == "eager"


def test_a_choice_without_a_block_stays(monkeypatch):
    monkeypatch.setattr(backend, "_chosen", "eager")
    monkeypatch.setattr(backend, "_has_compiler", lambda: True)
    use_backend("auto")
    assert backend_for(MANY) == "compiled"


def test_float64_few_scalars_and_functorch_are_left_to_eager(monkeypatch):
    monkeypatch.setattr(backend, "_has_compiler", lambda: True)
    seen = []

    def look(v):
        seen.append(backend_for(v))
        return v.sum()

    with use_backend("auto"):
        assert backend_for(MANY.double()) == "eager"
        assert backend_for(MANY[:5]) == "eager"
        torch.func.vmap(look)(torch.zeros(3, 100))
    assert seen == ["eager"]


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="expected one of eager, compiled, auto, got 'fast'"):
        use_backend("fast")


def test_without_a_compiler_the_eager_path_is_used_and_said_once(monkeypatch, capsys):
    monkeypatch.setattr(backend, "_said", set())
    monkeypatch.setenv("CXX", "no-such-compiler")
    spline = LinearRational()
    x, raw = draw(spline, 100, dtype=torch.float32)
    expected = spline.forward(x, raw)[0]
    with use_backend("auto"):
        assert torch.equal(spline.forward(x, raw)[0], expected)
        assert torch.equal(spline.forward(x, raw)[0], expected)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["splines: no C++ compiler (no-such-compiler); using the slower eager path"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (1, 3, 0, 2)])
def test_flattening_keeps_each_scalar_with_its_parameters(order):
    """Use a kernel that returns its first parameter and the sum of v and its second one."""
    numbers = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    stored = numbers.permute(order).contiguous()
    raw = stored.permute([order.index(dim) for dim in range(4)])
    v = torch.rand(2, 3, 4)
    first, second = on_flat(lambda v, rows: (rows[0].clone(), v + rows[1]), v, raw)
    assert torch.equal(first, numbers[..., 0])
    assert torch.equal(second, v + numbers[..., 1])


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("make", "bins", "tails"),
    [
        (LinearRational, 8, True),
        (LinearRational, 20, False),
        (RationalQuadratic, 4, False),
        (RationalQuadratic, 20, True),
        (Quadratic, 8, True),
        (partial(Quadratic, boundary="published"), 4, True),
        (Quadratic, 4, False),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
def test_compiled_kernels_equal_the_eager_path(make, bins, tails, direction):
    spline = make(bins=bins, tails=tails, logit_scale=0.7)
    x, raw = draw(spline, 999, dtype=torch.float32)
    x = x.view(27, 37)
    raw = raw.T.contiguous().view(-1, 27, 37).movedim(0, -1)
    grads = [torch.randn(27, 37, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]

    def run(dtype):
        inputs = [t.to(dtype).requires_grad_() for t in (x, raw)]
        results = getattr(spline, direction)(*inputs)
        return *results, *torch.autograd.grad(results, inputs, [g.to(dtype) for g in grads])

    with use_backend("compiled"):
        ours = run(torch.float32)
    eager, exact = run(torch.float32), run(torch.float64)
    for a, b, c in zip(ours, eager, exact, strict=True):
        assert a.shape == b.shape
        # As close to float64 as the eager path in float32 is, up to a small factor. Quantiles: next
        # to a knot or a middle point either may take the other side.
        own, its = (a - c).abs().flatten(), (b - c).abs().flatten()
        for share, least in ((0.5, 1e-6), (0.99, 1e-5)):
            assert own.quantile(share) <= 3 * its.quantile(share) + least
