"""One LU layer at the size of an image, on its own."""

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.comparison import Builder, Comparison, MissingPeer, Options
from benchmarks.limits import Limit, Product
from benchmarks.lu_products import inverse_flops, training_products
from benchmarks.masked import MaskedLU
from benchmarks.published import PublishedLULayer
from common.bijections.lu import LULinear


def comparisons(options: Options) -> list[Builder]:
    """Compare training and inverse with every peer, float32."""
    return [
        partial(_training, options, "nflows", _nflows),
        partial(_training, options, "masked weights", MaskedLU),
        partial(_training, options, "masked gradients", _MaskedGradients),
        partial(_inverse, options, "nflows", _nflows),
        partial(_inverse, options, "masked weights", MaskedLU),
        partial(_inverse, options, "published algorithm", _MaskedGradients),
    ]


def well_conditioned(features: int, device: torch.device) -> LULinear:
    """Return our layer with all entries in use."""
    layer = LULinear(features)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.packed.add_(torch.randn(layer.packed.shape, generator=generator), alpha=0.01)
    return layer.to(device)


def _training(options: Options, name: str, peer_of: Callable[[LULinear], Any]) -> Comparison:
    rows, features = (8, 16) if options.quick else (256, 784)
    layer = well_conditioned(features, options.device)
    peer = peer_of(layer)
    x = torch.randn(rows, features, device=options.device, requires_grad=True)
    cotangents = (torch.randn_like(x), torch.ones(rows, device=options.device))

    def step(side: nn.Module) -> None:
        for tensor in (x, *side.parameters()):
            tensor.grad = None
        torch.autograd.backward(side(x), cotangents)

    return Comparison(
        what="forward and backward",
        ours="LULinear",
        peer=name,
        run_ours=partial(step, layer),
        run_peer=partial(step, peer),
        limit=Limit(training_products((), rows, features, options.device), options.device),
        packages=("nflows",) if name == "nflows" else (),
        facts={"features": features, "batch": rows},
    )


def _inverse(options: Options, name: str, peer_of: Callable[[LULinear], Any]) -> Comparison:
    rows, features = (8, 16) if options.quick else (100, 784)
    layer = well_conditioned(features, options.device)
    peer = peer_of(layer)
    z = torch.randn(rows, features, device=options.device)
    dense = Product((), rows, features, features)

    def solve(invert: Callable[[Tensor], object]) -> None:
        with torch.no_grad():
            invert(z)

    return Comparison(
        what="inverse",
        ours="LULinear",
        peer=name,
        run_ours=partial(solve, layer.inverse_and_logdet),
        run_peer=partial(solve, peer.inverse),
        limit=Limit([dense], options.device, inverse_flops(rows, features)),
        packages=("nflows",) if name == "nflows" else (),
        facts={"features": features, "batch": rows},
    )


class _MaskedGradients(PublishedLULayer):
    """Return the log-determinant as well, as the others do."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), self.log_diagonal().expand(len(x))


def _nflows(layer: LULinear) -> Any:
    """Return nflows' layer; its entries start as the identity, which does not change its work."""
    try:
        module = importlib.import_module("nflows.transforms.lu")
    except ImportError as error:
        raise MissingPeer(
            f"nflows cannot be imported ({error}); 'pip install nflows' to compare with it"
        ) from None
    peer = module.LULinear(layer.features).to(layer.bias.device)
    try:
        with warnings.catch_warnings():
            # It calls torch.triangular_solve, which warns, once, that newer torch will lack it.
            warnings.simplefilter("ignore")
            peer.inverse(torch.zeros(1, layer.features, device=layer.bias.device))
    except (AttributeError, RuntimeError) as error:
        raise MissingPeer(f"nflows does not run on torch {torch.__version__} ({error})") from None
    return peer
