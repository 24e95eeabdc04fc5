"""Monotone splines of other libraries, each from logits to value and log slope.

All have eight bins of at least a small width, slopes of about one at the ends, and the identity
outside [-3, 3]; nflows, normflows and zuko have rational-quadratic splines, pyro and torchflows
linear rational ones. Each library turns logits into a spline in its own way, so values differ.
"""

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import MissingPeer

# Of x (N,) and logits (N, P): image and log slope, (N,) each.
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

BINS = 8
BOUND = 3.0


def nflows(inverse: bool) -> Evaluate:
    """Return nflows' rational-quadratic spline, P = 3 K - 1."""
    return _durkan(found("nflows.transforms.splines.rational_quadratic", "nflows"), inverse)


def normflows(inverse: bool) -> Evaluate:
    """Return normflows' rational-quadratic spline, P = 3 K - 1."""
    return _durkan(found("normflows.utils.splines", "normflows"), inverse)


def _durkan(module: Any, inverse: bool) -> Evaluate:
    def evaluate(v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        image, log_slope = module.unconstrained_rational_quadratic_spline(
            v,
            raw[:, :BINS],
            raw[:, BINS : 2 * BINS],
            raw[:, 2 * BINS :],
            inverse=inverse,
            tails="linear",
            tail_bound=BOUND,
        )
        return image, log_slope

    return evaluate


def zuko(inverse: bool) -> Evaluate:
    """Return zuko's rational-quadratic spline, P = 3 K - 1."""
    module = found("zuko.transforms", "zuko")

    def evaluate(v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        parts = raw[:, :BINS], raw[:, BINS : 2 * BINS], raw[:, 2 * BINS :]
        spline = module.MonotonicRQSTransform(*parts, bound=BOUND)
        image, log_slope = (spline.inv if inverse else spline).call_and_ladj(v)
        return image, log_slope

    return evaluate


def pyro(inverse: bool) -> Evaluate:
    """Return pyro's linear rational spline, P = 4 K - 1."""
    module = found("pyro.distributions.transforms.spline", "pyro-ppl")

    def evaluate(v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        w, h, middle, d = raw.unsqueeze(1).split([BINS, BINS, BINS, BINS - 1], -1)
        params = w.softmax(-1), h.softmax(-1), torch.nn.functional.softplus(d), middle.sigmoid()
        spline = module.ConditionedSpline(params, bound=BOUND, order="linear")
        side = spline.inv if inverse else spline
        v = v.unsqueeze(1)
        image = side(v)
        return image.squeeze(1), side.log_abs_det_jacobian(v, image).squeeze(1)

    return evaluate


def torchflows(inverse: bool) -> Evaluate:
    """Return torchflows' linear rational spline, P = 4 K: it has one redundant weight more."""
    name = "torchflows.bijections.finite.autoregressive.transformers.spline.linear_rational"
    spline = found(name, "torchflows").LinearRational((1,), boundary=BOUND, n_bins=BINS)

    def evaluate(v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.nn.functional.pad(raw, (0, 1)).unsqueeze(1)
        side = spline.inverse if inverse else spline.forward
        image, log_slope = side(v.unsqueeze(1), numbers)
        return image.squeeze(1), log_slope

    return evaluate


def compiled(evaluate: Evaluate, quick: bool) -> Evaluate:
    """Compile for one shape; in quick runs only trace, which takes less than a compiler."""
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    fast: Evaluate = torch.compile(
        evaluate, dynamic=False, backend="eager" if quick else "inductor"
    )
    return fast


def found(module: str, package: str) -> Any:
    """Return a peer's module.

    Raises:
        MissingPeer: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old spellings inside some of them
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingPeer(
            f"{package} cannot be imported ({error}); 'pip install {package}' to compare with it"
        ) from None
