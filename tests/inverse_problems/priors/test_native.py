"""The compiled network of Glow's couplings against convolutions in float64."""

import os
import shutil

import pytest
import torch

from common import compiled
from inverse_problems.priors import native
from inverse_problems.priors.glow_net import GlowNet

# A sum of up to 576 products; gradients pass through two more layers.
OFF = 2e-5

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
)


def net(inputs, outputs, width, seed=0):
    draw = torch.Generator().manual_seed(seed)
    made = GlowNet(inputs, outputs, width, 0.3, draw).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return made.requires_grad_(False)


def images(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def value_and_gradient(made, x):
    x = x.clone().requires_grad_()
    out = made(x)
    return out.detach(), torch.autograd.grad((out.sin()).sum(), x)[0]


@needs_compiler
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (7, 7), (14, 14), (5, 33)])
@pytest.mark.parametrize(("inputs", "outputs", "width"), [(2, 4, 64), (1, 1, 3), (6, 12, 20)])
def test_value_and_gradient_are_those_of_convolutions(size, inputs, outputs, width):
    made, x = net(inputs, outputs, width), images(3, inputs, *size)
    assert native.fits(x, width)
    assert native.available()
    value, gradient = value_and_gradient(made, x)
    exact, slope = value_and_gradient(made.double(), x.double())
    assert value.dtype == gradient.dtype == torch.float32
    assert (value - exact).abs().max() <= OFF * exact.abs().max()
    assert (gradient - slope).abs().max() <= OFF * slope.abs().max()


@needs_compiler
def test_images_are_independent_of_each_other_of_threads_and_of_the_batch():
    made, x = net(2, 4, 16), images(37, 2, 6, 6)
    together = value_and_gradient(made, x)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for one, other in zip(together, value_and_gradient(made, x), strict=True):
            assert torch.equal(one, other)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(together, value_and_gradient(made, x[20:21]), strict=True):
        assert torch.equal(one[20:21], other)
    with torch.no_grad():  # nothing is kept for a gradient
        assert torch.equal(made(x), together[0])


@needs_compiler
def test_any_layout_and_any_batch_is_taken():
    made, x = net(2, 4, 8), images(2, 3, 2, 4, 4)
    exact = made(x.flatten(0, 1)).unflatten(0, (2, 3))
    assert torch.equal(made(x), exact)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    assert torch.equal(made(last).unflatten(0, (2, 3)), exact)
    assert made(x[:0]).shape == (0, 3, 4, 4, 4)


@needs_compiler
def test_weights_that_are_written_to_count_at_once():
    made, x = net(2, 4, 8), images(3, 2, 4, 4)
    value_and_gradient(made, x)
    with torch.no_grad():
        made.second_norm.shift.add_(1.0)
        made.last.log_scale.sub_(0.5)
    value = made(x)
    exact = made.double()(x.double())
    assert (value - exact).abs().max() <= OFF * exact.abs().max()


@needs_compiler
def test_a_value_that_is_not_a_number_stays_so():
    x = images(2, 2, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    value = net(2, 4, 8)(x)
    assert value[0].isnan().any()
    assert value[1].isfinite().all()


def test_learning_weights_other_dtypes_and_wide_networks_are_left_to_convolutions(monkeypatch):
    monkeypatch.setattr(native.FrozenNet, "__call__", None)
    x = images(2, 2, 4, 4)
    learning = net(2, 4, 8).requires_grad_(True)
    learning(x).sum().backward()
    assert learning.first.weight.grad.abs().sum() > 0
    assert not native.fits(x.double(), 8)
    assert not native.fits(x, native.MAX_WIDTH + 1)
    assert net(2, 4, native.MAX_WIDTH + 1)(x).isfinite().all()


def test_without_a_compiler_convolutions_do_it_and_that_is_said_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    native.library.cache_clear()
    try:
        made, x = net(2, 4, 8), images(2, 2, 4, 4)
        for _ in range(2):
            value = made(x)
    finally:
        native.library.cache_clear()
    assert capsys.readouterr().err == "no C++ compiler: Glow's networks take the slower path\n"
    exact = made.double()(x.double())
    assert (value - exact).abs().max() <= OFF * exact.abs().max()


@needs_compiler
def test_the_kernel_is_built_without_warnings(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, "-Wall", "-Wextra", "-Werror"))
    path = tmp_path / "kernel.so"
    compiled.build(native.SOURCE, path, os.environ.get("CXX") or "g++")
    assert path.stat().st_size > 0


def test_an_optimiser_between_two_evaluations_counts_whatever_trace_it_leaves():
    made, x = net(2, 4, 8), images(2, 2, 4, 4)
    made(x)
    made.requires_grad_(True)
    optimiser = torch.optim.Adam(made.parameters(), lr=0.1, fused=True)
    made(x).sin().sum().backward()
    optimiser.step()
    with torch.no_grad():
        learning = made(x)
    value = made.requires_grad_(False)(x)
    exact = made.double()(x.double())
    for found in (learning, value):
        assert (found - exact).abs().max() <= OFF * exact.abs().max()
