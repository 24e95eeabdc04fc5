"""FFJORD: a flow whose layers are differential equations, as published for tabular data.

Reference: FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models, Will
Grathwohl, Ricky T. Q. Chen, Jesse Bettencourt, Ilya Sutskever and David Duvenaud, 2019,
https://arxiv.org/abs/1810.01367.
"""

from typing import Any

import torch

from common.bijections.base import Chain
from common.bijections.concat_squash import ConcatSquash, ConcatSquashNet, Nonlinearity
from common.bijections.continuous import Continuous
from common.errors import UserError
from common.flows.flow import Flow, StandardNormal


def ffjord(
    features: int,
    multiplier: int = 20,
    layers: int = 2,
    blocks: int = 1,
    nonlinearity: Nonlinearity = "softplus",
    *,
    models: tuple[int, ...] = (),
    generator: torch.Generator | None = None,
    **solver: Any,
) -> Flow:
    """Build FFJORD for vectors; the defaults are the published ones for MINIBOONE.

    In training mode the log-density is an unbiased estimate: give the flow a source of probes with
    `set_probes(flow, generator)` first. In evaluation mode it is exact up to the tolerances.

    Args:
        features: D.
        multiplier: width of the hidden layers over D.
        layers: hidden layers of each network.
        blocks: number of equations, one after the other.
        nonlinearity: "softplus" or "tanh".
        models: leading dimensions of the parameters; stacked models share the solver's steps.
        generator: draws the initial weights; torch's global one if None.
        solver: keywords of `Continuous`, such as rtol, atol, trace, noise, adjoint.

    Raises:
        UserError: a size that is not positive.
    """
    sizes = {"features": features, "multiplier": multiplier, "layers": layers, "blocks": blocks}
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"ffjord: expected {name} >= 1, got {size}")
    links = [
        Continuous(
            ConcatSquashNet(features, multiplier * features, layers, nonlinearity, models), **solver
        )
        for _ in range(blocks)
    ]
    flow = Flow(StandardNormal((features,)), Chain(links))
    if generator is not None:
        for part in flow.modules():
            if isinstance(part, ConcatSquash):
                part.draw(generator)
    return flow


def evaluations(flow: Flow) -> int:
    """Return the evaluations of the fields in the flow's last pass, over all its equations."""
    return sum(part.evaluations for part in flow.modules() if isinstance(part, Continuous))
