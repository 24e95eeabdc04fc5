"""RealNVP as this paper compares with it."""

import math

from common.bijections.base import Chain
from common.flows.flow import Flow
from common.flows.realnvp import realnvp_image, realnvp_vector
from lu_net.config import Model
from lu_net.model import Bank, preprocessing


def build_realnvp(cfg: Model, shape: tuple[int, ...], levels: int | None, models: int) -> Bank:
    """Build K untrained RealNVPs with their preprocessing; arguments as for `build_lu_net`."""
    flows = []
    for _ in range(models):
        if len(shape) == 3:
            channels, height, width = shape
            flow = realnvp_image((channels, height, width), cfg.planes, cfg.couplings, cfg.final)
        else:
            flow = realnvp_vector(math.prod(shape), cfg.couplings, cfg.width)
        links = [*preprocessing(cfg, levels, len(shape)), flow.bijection]
        flows.append(Flow(flow.base, Chain(links)))
    return Bank(flows)
