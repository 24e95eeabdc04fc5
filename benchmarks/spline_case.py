"""What the spline cases share: sizes, peers and the two sides of a comparison."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from benchmarks import spline_peers
from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.limits import Traffic
from benchmarks.spline_peers import Evaluate
from common.bijections.splines import LinearRational
from common.bijections.splines.backend import Backend, use_backend

Kind = Literal["forward", "forward and backward", "inverse"]
SIZES = (2**14, 2**16, 2**18)

# Name, its evaluation, compiled, parameters of a scalar, package.
PEERS: tuple[tuple[str, Callable[[bool], Evaluate], bool, int, str], ...] = (
    ("nflows eager", spline_peers.nflows, False, 23, "nflows"),
    ("nflows compiled", spline_peers.nflows, True, 23, "nflows"),
    ("zuko eager", spline_peers.zuko, False, 23, "zuko"),
    ("zuko compiled", spline_peers.zuko, True, 23, "zuko"),
    ("normflows eager", spline_peers.normflows, False, 23, "normflows"),
    ("pyro eager", spline_peers.pyro, False, 31, "pyro-ppl"),
    ("torchflows eager", spline_peers.torchflows, False, 31, "torchflows"),
)


def builders(options: Options, kind: Kind) -> list[Builder]:
    """Compare our compiled kernel with every peer, and with our own eager path, at every size."""
    sizes = (64,) if options.quick else SIZES
    made: list[Builder] = []
    for size in sizes:
        for name, peer, compile_it, parameters, package in PEERS:
            made.append(
                partial(_compare, options, kind, size, name, peer, compile_it, parameters, package)
            )
        made.append(partial(_compare, options, kind, size, "ours eager", _eager, False, 31, ""))
    return made


def _compare(
    options: Options,
    kind: Kind,
    size: int,
    name: str,
    peer: Callable[[bool], Evaluate],
    compile_it: bool,
    parameters: int,
    package: str,
) -> Comparison:
    inverse = kind == "inverse"
    theirs = peer(inverse)
    if compile_it:
        theirs = spline_peers.compiled(theirs, options.quick)
    spline = LinearRational(spline_peers.BINS, spline_peers.BOUND)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, generator=generator).to(options.device)
    # The same logits, as the conditioner of each side would hand them over: ours writes one
    # parameter of all scalars side by side, the others all parameters of one scalar.
    rows = torch.randn(spline.parameters, size, generator=generator).to(options.device)
    table = rows[:parameters].T.contiguous()
    backend: Backend = "eager" if options.quick else "auto"

    def ours(v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        with use_backend(backend):
            return (spline.inverse if inverse else spline.forward)(v, raw.T)

    if kind == "forward and backward":
        sides = [_with_gradients(ours, x, rows), _with_gradients(theirs, x, table)]
        numbers = 2 * 32 + 2 + 1 + 31  # x and logits twice, gradients of both results, of both
    else:
        sides = [_alone(ours, x, rows), _alone(theirs, x, table)]
        numbers = 32 + 2
    return Comparison(
        what=f"{kind}, {size} scalars",
        ours="LinearRational" if options.quick else "LinearRational compiled",
        peer=name,
        run_ours=sides[0],
        run_peer=sides[1],
        limit=Traffic(4 * numbers * size, options.device),
        packages=(package,) if package else (),
        facts={"scalars": size, "bins": spline_peers.BINS, "peer_parameters": parameters},
    )


def _eager(inverse: bool) -> Evaluate:
    """Return ours, operation by operation, with parameters last as the others have them."""
    spline = LinearRational(spline_peers.BINS, spline_peers.BOUND)
    return spline.inverse if inverse else spline.forward


def _alone(evaluate: Evaluate, v: Tensor, raw: Tensor) -> Callable[[], object]:
    def run() -> None:
        with torch.no_grad():
            evaluate(v, raw)

    return run


def _with_gradients(evaluate: Evaluate, v: Tensor, raw: Tensor) -> Callable[[], object]:
    inputs = (v.clone().requires_grad_(), raw.clone().requires_grad_())
    cotangents = (torch.randn_like(v), torch.randn_like(v))

    def run() -> None:
        torch.autograd.grad(evaluate(*inputs), inputs, cotangents)

    return run
