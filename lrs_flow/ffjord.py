"""FFJORD as a peer, K models as one; they share the solver's steps."""

import torch

from common.bijections.continuous import set_probes
from common.flows.bank import Bank, Stack
from common.flows.continuous import ffjord
from lrs_flow.config import Model


def build_ffjord(cfg: Model, features: int, models: int) -> Bank:
    """Build K untrained models; torch's global generator draws their parameters."""
    flow = ffjord(
        features,
        cfg.hidden,
        cfg.blocks,
        cfg.steps,
        cfg.activation,
        models=(models,),
        atol=cfg.atol,
        rtol=cfg.rtol,
    )
    return Stack(flow, models)


def give_noise(bank: Bank, noise: torch.Generator) -> None:
    """Let the trace estimates of the next training step draw from `noise`."""
    set_probes(bank, noise)
