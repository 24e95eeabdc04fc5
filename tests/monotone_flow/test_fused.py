"""Compiled kernels compute what eager ones do; where none can be compiled, that is said once."""

import shutil

import pytest
import torch

from monotone_flow import fused as kernels
from monotone_flow.blocks import KINDS, block
from monotone_flow.fused import fused, fusible
from tests.monotone_flow.small import normal, small_nets

BATCH = 40


@pytest.fixture
def compilations(monkeypatch):
    """Return a list of what the compiled stand-in was called with."""
    calls = []

    def compile(function, **_):
        def compiled(*args):
            calls.append(args[-1])
            return function(*args)

        return compiled

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(kernels, "_possible", lambda: True)
    return calls


def test_only_float32_batches_of_the_sizes_asked_for_are_compiled(compilations):
    @fusible
    def double(x, batch):
        return 2 * x

    x = torch.ones(BATCH)
    double(x, BATCH)
    assert compilations == []
    with fused({BATCH}):
        assert torch.equal(double(x, BATCH), 2 * x)
        assert compilations == [BATCH]
        double(x[1:], BATCH - 1)
        double(x.double(), BATCH)
        assert compilations == [BATCH]
    double(x, BATCH)
    assert compilations == [BATCH]


def test_sizes_are_those_of_the_innermost_block_also_after_an_error(compilations):
    @fusible
    def double(x, batch):
        return 2 * x

    x = torch.ones(BATCH)
    with fused({BATCH}):
        with pytest.raises(RuntimeError, match="size of tensor"), fused(()):
            double(x, BATCH).add_(torch.ones(BATCH + 1))
        assert compilations == []
        double(x, BATCH)
    assert compilations == [BATCH]


def test_without_a_compiler_everything_stays_eager_and_it_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(kernels, "_said", set())
    monkeypatch.setenv("CXX", "no-such-compiler")
    net = small_nets(2, "cpila").float().nets()[0]
    x = normal(2, 2, BATCH).float()
    expected = block("monotone", net, x)
    for _ in range(2):
        with fused({BATCH}):
            found = block("monotone", net, x)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    said = capsys.readouterr().err
    assert said == "no C++ compiler (no-such-compiler); using slower kernels\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_more_shapes_than_torch_compiles_by_default_are_compiled():
    @fusible
    def double(x, batch):
        return 2 * x

    with fused({BATCH}):
        for rows in range(1, 11):
            assert double(torch.ones(rows, BATCH), BATCH).sum() == 2 * rows * BATCH


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(("features", "activation"), [(1, "crelu"), (2, "cpila"), (2, "clipswish")])
def test_compiled_blocks_are_eager_ones_up_to_rounding(features, activation):
    (net,) = small_nets(features, activation, growth=8).float().nets()
    net = net.with_tensors(tuple(tensor.detach().requires_grad_() for tensor in net.tensors()))
    x = normal(2, features, BATCH).float().requires_grad_()
    bar = normal(2, features, BATCH, seed=1).float()

    def passes():
        found = []
        for kind in KINDS:
            z, logdet = block(kind, net, x)
            loss = (bar * z).sum() + logdet.square().sum()
            found += [z, logdet, *torch.autograd.grad(loss, (x, *net.tensors()))]
        return found

    expected = passes()
    with fused({BATCH, 32}):
        found = passes()
    for mine, other in zip(found, expected, strict=True):
        # Epsilon is 1e-7; solutions are found to 16 of it over a slope of at least 0.15, and
        # gradients of weights sum over 40 samples.
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4 * (1 + scale))
