"""The image models of this paper."""

from common.flows.flow import Flow
from common.flows.glow import image_flow
from common.training.seeding import generator
from lrs_flow.config import Model
from lrs_flow.model import transformer

START = 12  # the stream of the seed that draws the permutations and the parameters


def build_image(cfg: Model, shape: tuple[int, ...], levels: int, seed: int, model: int) -> Flow:
    """Build one untrained model of dequantised pixels.

    Args:
        cfg: which model; `steps` counts the couplings of each level.
        shape: (C, H, W).
        levels: number of pixel values.
        seed: of the permutations and the parameters.
        model: which of the independent models; it changes both.
    """
    channels, height, width = shape
    return image_flow(
        (channels, height, width),
        levels=cfg.levels,
        steps=cfg.steps,
        channels=cfg.hidden,
        blocks=cfg.blocks,
        transformer=transformer(cfg, logit_scale=cfg.hidden**-0.5),
        dropout=cfg.dropout,
        batch_norm=cfg.batch_norm,
        multi_scale=cfg.multi_scale,
        identity_start=cfg.start == "identity",
        values=levels,
        generator=generator(seed, START, model),
    )
