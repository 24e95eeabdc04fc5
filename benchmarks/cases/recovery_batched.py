"""Compressed sensing with a Glow prior: all images as one batch, and one after the other."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.limits import Limit, Product
from common.metrics.psnr import psnr
from common.training.seeding import generator
from inverse_problems.operators.gaussian import GaussianOperator
from inverse_problems.priors.flow import FlowPrior
from inverse_problems.priors.glow import Architecture, glow
from inverse_problems.recovery.budgets import LBFGS
from inverse_problems.recovery.recover import recover

GOAL_RATIO = 8.0
LEVELS = 32
# The published ratio of measurements to pixels in most ablations.
RATIO = 0.407
WEIGHTS, TRUTH, MATRIX, NOISE = range(4)


def comparisons(options: Options) -> list[Builder]:
    """Compare with the published optimiser, one image at a time."""
    return [partial(_row, options)]


def make_prior(shape: tuple[int, int, int], width: int, steps: int) -> FlowPrior:
    """Return a Glow with random weights that is no identity, and whose samples fit into [0, 1]."""
    draw = generator(0, WEIGHTS)
    architecture = Architecture(levels=2, steps=steps, last_steps=steps, width=width, bias=0.1)
    flow = glow(shape, architecture, LEVELS, draw)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=draw))
    return FlowPrior(flow.eval(), shape, LEVELS)


def one_by_one(
    prior: FlowPrior, operator: GaussianOperator, y: Tensor, budget: LBFGS
) -> Callable[[], Tensor]:
    """Return the published recovery: torch's L-BFGS from z = 0, image after image, (B, k)."""
    parameters = list(prior.parameters())

    def solve(target: Tensor) -> Tensor:
        z = target.new_zeros(1, prior.latents, requires_grad=True)
        optimiser = torch.optim.LBFGS([z], lr=budget.lr, max_iter=budget.inner)

        def closure() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            loss = (operator(prior.decode(z)) - target).square().sum()
            loss.backward()
            return loss

        for _ in range(budget.outer):
            optimiser.step(closure)
        return z.detach()

    def run() -> Tensor:
        for parameter in parameters:
            parameter.requires_grad_(False)  # no gradients of weights, as in ours
        return torch.cat([solve(target) for target in y.split(1)])

    return run


class Convolutions(TorchFunctionMode):
    """Write down the matrix products that convolutions amount to."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.nn.functional.conv2d:
            weight = args[1]
            batch, channels, height, width = out.shape
            rows = batch * height * width
            self.products.append(Product((), rows, weight[0].numel(), channels))
        return out


def _row(options: Options) -> Comparison:
    shape, width, steps, images = (1, 28, 28), 64, 4, 64
    budget = LBFGS(lr=0.1, outer=2, inner=20)
    if options.quick:
        shape, width, steps, images = (1, 8, 8), 8, 1, 3
        budget = LBFGS(lr=0.1, outer=1, inner=4)
    prior = make_prior(shape, width, steps).to(options.device)
    m = round(RATIO * prior.n)
    operator = GaussianOperator(shape, m, generator(0, MATRIX)).to(options.device)
    z = 0.7 * torch.randn(images, prior.latents, generator=generator(0, TRUTH))
    with torch.no_grad():
        truth = prior.decode(z.to(options.device)).clamp(0, 1)
        noise = 0.1 / m**0.5 * torch.randn(images, m, generator=generator(0, NOISE))
        y = operator(truth) + noise.to(options.device)
    with Convolutions() as seen:  # weights that learn are those of convolutions by torch
        prior.decode(z.to(options.device))
    theirs = one_by_one(prior, operator, y, budget)

    def ours() -> Tensor:
        return recover(prior, operator, y, optimiser=budget, point="last", chunk=images).x

    found = recover(prior, operator, y, optimiser=budget, point="last", chunk=images)
    with torch.no_grad():
        quality = psnr(found.x, truth)
        peer_quality = psnr(prior.decode(theirs()), truth)
    evaluations = float(found.evaluations.double().mean())
    # A gradient in the input takes as many operations as the convolution itself.
    flops = 2 * evaluations * sum(product.flops for product in seen.products)
    return Comparison(
        what=f"compressed sensing of {images} images, m/n = {RATIO}",
        ours="inverse_problems, one batch",
        peer="one-by-one",
        run_ours=ours,
        run_peer=theirs,
        limit=Limit(seen.products, options.device, flops),
        pieces=images,
        facts={
            "images": images,
            "parameters": sum(parameter.numel() for parameter in prior.parameters()),
            "evaluations": evaluations,
            "psnr": _digits(float(quality.mean())),
            "peer_psnr": _digits(float(peer_quality.mean())),
            "psnr_difference": _digits(float((quality - peer_quality).abs().max())),
            "goal_ratio": GOAL_RATIO,
        },
    )


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
