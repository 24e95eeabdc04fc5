"""The native kernel against the reference path, and what happens where it cannot be had."""

import os
import shutil
from functools import cache

import pytest
import torch

from common import compiled
from common.solvers import NotConverged
from monotone_flow import blocks, native, saturated
from monotone_flow import fused as kernels
from monotone_flow.blocks import KINDS, block, inverse
from monotone_flow.fused import fused
from tests.monotone_flow.small import normal, seeded, small_nets

EPS = torch.finfo(torch.float32).eps
# A solve ends within 16 epsilon, relative to what it adds up, and the log-determinant is that of
# this point; (I + J)^-1, at most 1 / (1 - 0.95) = 20, amplifies it. Gradients, amplified twice but
# solved one step further, were found within 160 epsilon of the largest entry.
OFF = 16 * 20 * EPS
# A batch that no test has: nothing but the native kernel is compiled.
OTHER = 5
BATCH = 40

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=native.ACTIVATIONS)
def activation(request):
    return request.param


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Return an empty cache folder, for a process that has not asked for the kernel yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Where there is a GPU, blocks on the CPU are wanted native whatever compiler there is.
    monkeypatch.setattr(kernels, "_possible", lambda: True)
    native.library.cache_clear()
    yield tmp_path / "cache" / "monotone_flow"
    native.library.cache_clear()


def single(net):
    return net.with_tensors(tuple(tensor.detach().float() for tensor in net.tensors()))


@cache
def some_net(activation, **settings):
    """Return float32 nets of the plane, whose layers' norms are at 0.95."""
    return single(small_nets(2, activation, coefficient=0.95, **settings).nets()[0])


def points(models, batch):
    return normal(models, 2, batch, seed=3).float()


def passes(kind, net, x, dtype):
    """Return z, logdet and the gradients by x and all tensors of a random loss."""
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (x, *net.tensors())]
    z, logdet = block(kind, net.with_tensors(tuple(leaves[1:])), leaves[0])
    bar = normal(*z.shape, seed=1).to(dtype), normal(*logdet.shape, seed=2).to(dtype)
    loss = (bar[0] * z).sum() + (bar[1] * logdet).sum()
    return [z.detach(), logdet.detach(), *torch.autograd.grad(loss, leaves)]


def native_passes(kind, net, x):
    """Return the passes of the native kernel, with nothing to fall back to."""
    assert native.fits(net, x)
    with pytest.MonkeyPatch.context() as patch, fused({OTHER}):
        patch.setattr(blocks, "_Block", None)
        return passes(kind, net, x, torch.float32)


def assert_agree(kind, net, x):
    found = native_passes(kind, net, x)
    expected = passes(kind, net, x, torch.float64)
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        error = (mine - other).abs().max() / (1 + other.abs().max())
        assert error <= OFF


# Against the reference


@needs_compiler
@pytest.mark.parametrize("concatenation", [0.98, None], ids=["dense", "plain"])
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("batch", [1, 16, 17, 500])
def test_values_logdets_and_gradients_are_those_of_the_reference(
    kind, activation, concatenation, models, batch
):
    net = some_net(activation, concatenation=concatenation, models=models)
    assert_agree(kind, net, points(models, batch))


@needs_compiler
@pytest.mark.parametrize(("make", "lipschitz"), [(saturated.folds, 0.9), (saturated.bends, 0.95)])
def test_nets_that_reach_their_constant_agree_too(kind, make, lipschitz):
    assert_agree(kind, single(make(3, 2, lipschitz, seeded())), points(3, 100))


@needs_compiler
@pytest.mark.parametrize(
    ("activation", "settings"),
    [
        ("lipswish", {"growth": 32, "depth": 4}),
        ("clipswish", {"growth": 64, "depth": 2}),
        ("cpila", {"growth": 64, "depth": 2, "concatenation": None}),
    ],
)
def test_the_largest_nets_that_fit_agree(kind, activation, settings):
    assert_agree(kind, some_net(activation, **settings), points(2, 17))


@needs_compiler
def test_a_sample_does_not_depend_on_its_neighbours_or_on_other_models(kind, activation):
    # The first steps end at another residual, still within the tolerance, next to hard neighbours.
    net, x = some_net(activation, models=3), points(3, 17)
    z, logdet, *_ = native_passes(kind, net, x)
    own = net.with_tensors(tuple(tensor[1:2] for tensor in net.tensors()))
    for b in (0, 15, 16):
        with fused({OTHER}):
            alone = block(kind, own, x[1:2, :, b : b + 1])
        torch.testing.assert_close(alone[0][0, :, 0], z[1, :, b], rtol=OFF, atol=OFF)
        torch.testing.assert_close(alone[1][0, 0], logdet[1, b], rtol=OFF, atol=OFF)


@needs_compiler
def test_there_and_back_is_the_identity(kind, activation):
    net, x = some_net(activation), points(2, BATCH)
    with fused({OTHER}):
        z, logdet = block(kind, net, x)
        back, other = inverse(kind, net, z)
    # Two solutions, the second of what the first one left.
    torch.testing.assert_close(back, x, rtol=0, atol=2 * OFF)
    torch.testing.assert_close(other, -logdet, rtol=0, atol=2 * OFF)


@needs_compiler
def test_views_and_strided_tensors_are_read_as_what_they_show(kind):
    net, x = some_net("clipswish"), points(2, BATCH)
    turned = net.with_tensors(
        tuple(tensor.mT.contiguous().mT for tensor in net.weights) + net.biases + net.betas
    )
    strided = x.mT.contiguous().mT
    for mine, other in zip(
        native_passes(kind, turned, strided), native_passes(kind, net, x), strict=True
    ):
        assert torch.equal(mine, other)


# What it does not compute


@needs_compiler
def test_a_net_that_fits_is_refused_in_another_precision_dimension_or_batch():
    net, x = some_net("cpila"), points(2, 4)
    assert native.fits(net, x)
    assert not native.fits(net, x.double())
    assert not native.fits(net, x[..., :0])
    for features in (1, 3):
        other = single(small_nets(features).nets()[0])
        assert not native.fits(other, normal(2, features, 4).float())


@pytest.mark.parametrize(
    ("activation", "settings"),
    [
        ("sine", {}),
        ("lipswish", {"growth": native.MAX_OUT + 1}),
        ("clipswish", {"growth": 2 * native.MAX_OUT + 2, "depth": 1}),
        ("cpila", {"depth": native.MAX_LAYERS + 1}),
        ("clipswish", {"growth": 2 * native.MAX_OUT, "depth": 3}),  # 194 rows
    ],
)
def test_unknown_activations_and_nets_too_wide_or_too_deep_are_refused(activation, settings):
    assert not native.fits(single(small_nets(2, activation, **settings).nets()[0]), points(2, 4))


def test_a_net_without_hidden_layers_may_be_asked_for(kind):
    net = single(saturated.rotations(2, 2, 0.9, seeded()))
    assert isinstance(native.fits(net, points(2, 4)), bool)


# NaN


def noticed(kind, net, x):
    """Return for which samples z or logdet is NaN (K, B); all of them if nothing converged."""
    try:
        z, logdet = block(kind, net, x)
    except NotConverged:
        return torch.ones(x.shape[0], x.shape[2], dtype=torch.bool)
    return z.isnan().any(1) | logdet.isnan()


@needs_compiler
@pytest.mark.parametrize(
    ("activation", "place"),
    [
        (name, place)
        for name in native.ACTIVATIONS
        for place in ("x", "weights", "biases", "betas")
        if place != "betas" or name in ("clipswish", "lipswish")
    ],
)
@pytest.mark.parametrize("concatenation", [0.98, None], ids=["dense", "plain"])
def test_a_nan_never_goes_unnoticed(kind, activation, place, concatenation):
    net, x = some_net(activation, concatenation=concatenation), points(2, 17)
    for layer in range(1 if place == "x" else len(getattr(net, place))):
        wrong, at = net.with_tensors(tuple(tensor.clone() for tensor in net.tensors())), x.clone()
        tensor = at if place == "x" else getattr(wrong, place)[layer]
        tensor[0].view(-1)[0] = torch.nan
        expected = noticed(kind, wrong, at)
        assert expected.any()
        with fused({OTHER}):
            assert bool((noticed(kind, wrong, at) | ~expected).all())


# Where the kernel does not get there, or is not there


def assert_takes_the_reference_path(kind, net, x):
    expected = passes(kind, net, x, torch.float32)
    with fused({OTHER}):
        found = passes(kind, net, x, torch.float32)
    for mine, other in zip(found, expected, strict=True):
        assert torch.equal(mine, other)


@needs_compiler
@pytest.mark.parametrize("kind", ["inverse_residual", "monotone"])
def test_a_solve_that_ends_too_early_is_left_to_the_general_solver(monkeypatch, kind, activation):
    monkeypatch.setattr(native, "LIMIT", 1)
    net, x = some_net(activation), points(2, BATCH)
    assert native.forward(kind, net, x, 16 * EPS)[3] > 16 * EPS
    assert_takes_the_reference_path(kind, net, x)


@needs_compiler
def test_kinks_that_stop_newton_are_left_to_the_general_solver():
    net, x = single(saturated.folds(3, 2, 0.95, seeded())), points(3, 100)
    assert native.forward("monotone", net, x, 16 * EPS)[3] > 0.1
    assert_takes_the_reference_path("monotone", net, x)


@pytest.mark.parametrize("compiler", [None, "no-such-compiler"])
def test_without_a_compiler_blocks_take_the_reference_path_and_say_so_once(
    monkeypatch, tmp_path, capsys, fresh, compiler
):
    monkeypatch.setenv("PATH", str(tmp_path))
    if compiler is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", compiler)
    for kind in KINDS:
        assert_takes_the_reference_path(kind, some_net("cpila"), points(2, BATCH))
    said = capsys.readouterr().err
    assert said == "no C++ compiler: blocks of the plane take the slower path\n"
    assert not fresh.exists()


def test_a_compiler_that_fails_is_said_once_and_leaves_nothing(
    monkeypatch, tmp_path, capsys, fresh
):
    monkeypatch.setenv("CXX", script(tmp_path, 'echo "error: no" >&2', "exit 1"))
    for kind in KINDS:
        assert_takes_the_reference_path(kind, some_net("cpila"), points(2, BATCH))
    said = capsys.readouterr().err
    assert said.startswith("blocks of the plane take the slower path: ")
    assert said.count("\n") == 1
    assert list(fresh.iterdir()) == []


def test_a_cache_that_cannot_be_written_leaves_the_reference_path(
    monkeypatch, tmp_path, capsys, fresh
):
    (tmp_path / "cache").write_text("a file, not a folder", encoding="utf-8")
    monkeypatch.setenv("CXX", script(tmp_path, "exit 0"))
    assert_takes_the_reference_path("monotone", some_net("cpila"), points(2, BATCH))
    assert capsys.readouterr().err.startswith("blocks of the plane take the slower path: ")


def test_a_kernel_that_cannot_be_loaded_leaves_the_reference_path(
    monkeypatch, tmp_path, capsys, fresh
):
    monkeypatch.setenv("CXX", script(tmp_path, *WRITE_SLOWLY))
    assert_takes_the_reference_path("monotone", some_net("cpila"), points(2, BATCH))
    assert capsys.readouterr().err.startswith("blocks of the plane take the slower path: ")


# Building


# The last argument is the file to write.
WRITE_SLOWLY = ('for out; do :; done; printf half > "$out"', "sleep 0.2", 'printf half >> "$out"')


def script(folder, *lines):
    path = folder / "compiler"
    path.write_text("\n".join(("#!/bin/sh", *lines)), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@needs_compiler
@pytest.mark.slow
def test_a_kernel_is_built_once_and_found_by_the_next_process(monkeypatch, fresh):
    assert native.available()
    (built,) = fresh.iterdir()
    native.library.cache_clear()
    monkeypatch.setattr(compiled, "build", None)
    assert native.available()
    assert list(fresh.iterdir()) == [built]
