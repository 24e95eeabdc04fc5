"""The image model of a training: a flow, and the noise that makes pixels continuous."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from common.datasets.dequantise import dequantise
from common.errors import UserError
from common.flows.flow import Flow
from common.training.seeding import generator
from monotone_flow.images.architectures import Architecture, Dense, Plain
from monotone_flow.images.blocks import set_estimators, set_source
from monotone_flow.images.chain import START, block_flow
from monotone_flow.images.chain import start as start_flow
from monotone_flow.images.config import Model, Series
from monotone_flow.images.estimators import Estimator, NeumannRoulette, Roulette, Source
from monotone_flow.images.lipschitz import update_norms
from monotone_flow.images.variational import VariationalDequantiser

FLOW, NOISE = 20, 21  # streams of the seed that draw the parameters


class ImageModel(nn.Module):
    """Bound the log-probability of integer pixels from below by a flow of continuous ones.

    log P(pixels) >= E log p(x) - log q, where x = pixels + u and q is the density of u: 1 under
    uniform noise, that of the dequantiser where there is one.

    Args:
        flow: of x in [0, levels).
        levels: number of pixel values.
        dequantiser: learns the noise; None for uniform noise.

    Shapes: pixels (B, C, H, W), whole numbers in a floating dtype; bounds (B,) in nats.
    Raises: NotConverged by the solves; ValueError without a source of random numbers.

    References: Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016,
    https://arxiv.org/abs/1511.01844 (uniform noise); Ho, Chen, Srinivas, Duan, Abbeel, "Flow++",
    2019, https://arxiv.org/abs/1902.00275 (learned noise).
    """

    def __init__(
        self, flow: Flow, levels: int, dequantiser: VariationalDequantiser | None = None
    ) -> None:
        super().__init__()
        self.flow = flow
        self.levels = levels
        self.dequantiser = dequantiser

    def continuous(self, pixels: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return x, shaped like pixels, and log q (B,)."""
        if self.dequantiser is None:
            return dequantise(pixels, self.levels, noise), pixels.new_zeros(len(pixels))
        x, log_q = self.dequantiser(pixels, noise)
        return x, log_q

    def bound(self, pixels: Tensor, noise: torch.Generator) -> Tensor:
        """Return one draw of the bound; in training mode a surrogate that has no value."""
        x, log_q = self.continuous(pixels, noise)
        return self.flow.log_prob(x) - log_q

    def forward(self, pixels: Tensor, noise: torch.Generator) -> Tensor:
        return self.bound(pixels, noise)


def build(cfg: Model, shape: tuple[int, ...], levels: int | None, seed: int | None) -> ImageModel:
    """Build an untrained model; its parameters are a function of the seed, if there is one.

    Raises:
        UserError: the data are no images, or too small for the scales.
    """
    if levels is None or len(shape) != 3:
        raise UserError(f"expected images (channels, height, width) of pixels, got {shape}")
    image: tuple[int, int, int] = (shape[0], shape[1], shape[2])
    flow = block_flow(
        image,
        kind=cfg.kind,
        architecture=architecture(cfg),
        blocks=cfg.blocks,
        alpha=cfg.alpha,
        vectors=cfg.vectors,
        factor_out=cfg.factor_out,
        squeeze_first=cfg.squeeze_first,
        levels=levels,
        generator=_draws(seed, FLOW),
    )
    if cfg.dequantisation == "uniform":
        return ImageModel(flow, levels)
    noise = VariationalDequantiser(
        image,
        architecture=dense(cfg),
        blocks=cfg.noise_blocks,
        width=cfg.noise_width,
        hidden=cfg.noise_hidden,
        levels=levels,
        generator=_draws(seed, NOISE),
    )
    return ImageModel(flow, levels, noise)


def _draws(seed: int | None, stream: int) -> torch.Generator | None:
    return None if seed is None else generator(seed, stream)


def architecture(cfg: Model) -> Architecture:
    """Return what makes the networks."""
    if cfg.net == "plain":
        return Plain(cfg.activation, cfg.growth, cfg.vector_width, cfg.coefficient)
    return dense(cfg)


def dense(cfg: Model) -> Dense:
    """Return what makes dense networks."""
    return Dense(
        activation=cfg.activation,
        depth=cfg.depth,
        growth=cfg.growth,
        vector_width=cfg.vector_width,
        vector_growth=cfg.vector_growth,
        coefficient=cfg.coefficient,
        lip=cfg.lip,
    )


def estimators(series: Series) -> tuple[Estimator, Estimator]:
    """Return the estimator to train by, and that of the looks."""
    shared: dict[str, Any] = {"rate": series.rate, "noise": series.noise, "shared": series.shared}
    training = NeumannRoulette(
        exact=series.exact, probes=1, memory_saving=series.memory_saving, **shared
    )
    return training, Roulette(exact=series.look_exact, probes=1, **shared)


def start(model: ImageModel, pixels: Tensor, noise: torch.Generator) -> None:
    """Find all norms, then start the ActNorms by a first batch of pixels."""
    if model.dequantiser is not None:
        update_norms(model.dequantiser, START)
    model.eval()
    # In evaluation mode the dequantiser's log-determinants need no gradient, and nobody reads them.
    set_source(model, Source.seeded(0, pixels.device))
    with torch.no_grad():
        x, _ = model.continuous(pixels, noise)
    start_flow(model.flow, x)
    model.train()


def set_all(model: ImageModel, series: Series) -> None:
    """Give all blocks the estimators of a training."""
    training, looks = estimators(series)
    set_estimators(model, training=training, evaluation=looks)


def count(model: nn.Module) -> int:
    """Return the number of parameters, those that are learned later included."""
    return sum(parameter.numel() for parameter in model.parameters())


def nats_per_bit(shape: tuple[int, ...]) -> float:
    """Return what divides nats per image to give bits per dimension."""
    return math.log(2) * math.prod(shape)
