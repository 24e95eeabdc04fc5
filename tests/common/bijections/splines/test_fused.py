"""The Triton kernels, run by Triton's interpreter and compiled for a GPU that need not be there."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="needs triton"),
]

INTERPRET = """
import torch
from common.bijections.splines import LinearRational, fused
from common.bijections.splines.plan import Plan
from tests.common.bijections.splines.kinds import draw

torch.manual_seed(0)
for bins, tails in ((8, True), (5, False), (20, True)):
    spline = LinearRational(bins=bins, tails=tails, logit_scale=0.7)
    x, raw = draw(spline, 1000, dtype=torch.float32)
    x = x if tails else 1.2 * x - 0.1
    g, g_log = torch.randn(1000), torch.randn(1000)
    for inverse in (False, True):
        ends = (spline.lower, spline.upper)
        plan = Plan(bins, *ends, tails, 0.7, True, inverse, spline.inside[inverse])
        a, b = x.clone().requires_grad_(), raw.T.clone().requires_grad_()
        ours = fused.evaluate(plan, a, b)
        ours = (*ours, *torch.autograd.grad(ours, (a, b), (g, g_log)))
        for dtype in (torch.float32, torch.float64):
            c, d = x.to(dtype).requires_grad_(), raw.T.to(dtype).requires_grad_()
            eager = (spline.inverse if inverse else spline.forward)(c, d.T)
            eager = (*eager, *torch.autograd.grad(eager, (c, d), (g.to(dtype), g_log.to(dtype))))
            exact, low = (eager, low) if dtype == torch.float64 else (None, eager)
        for name, mine, its, true in zip(("image", "log", "grad", "raw"), ours, low, exact):
            off, its = (mine - true).abs().flatten(), (its - true).abs().flatten()
            # Quantiles: next to a knot or a middle point either may take the other side.
            for share, least in ((0.5, 1e-6), (0.99, 1e-5)):
                limit = 3 * its.quantile(share) + least
                assert off.quantile(share) <= limit, (bins, tails, inverse, name)
            assert mine.isfinite().all()
"""

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from common.bijections.splines import LinearRational, fused
from common.bijections.splines.plan import Plan

spline = LinearRational()
for inverse in (False, True):
    plan = Plan(8, -3.0, 3.0, True, 1.0, True, inverse, spline.inside[inverse])
    for kernel in (fused._forward, fused._backward):
        constants = fused._launch(plan, 1000)[1]
        types = {"N": "i32", "k_in": "*i32", "k_out": "*i32"}
        types |= {name: "constexpr" for name in constants}
        signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        assert "ptx" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm
"""


def run(code, **variables):
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_kernels_agree_with_the_eager_path_under_the_interpreter():
    run(INTERPRET, TRITON_INTERPRET="1")


def test_the_kernels_compile_for_a_gpu(tmp_path):
    run(COMPILE, TRITON_CACHE_DIR=str(tmp_path))
