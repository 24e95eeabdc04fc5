"""Parameters of the published image models, counted without giving them memory."""

from typing import Any

import torch

from monotone_flow.images.architectures import Dense, Plain
from monotone_flow.images.chain import block_flow
from monotone_flow.images.variational import VariationalDequantiser

Counts = dict[tuple[str, str], int]

COLOUR = (3, 32, 32)
WIDE = (32, 32, 32)
FACTORED = {"shape": (3, 64, 64), "blocks": WIDE, "squeeze_first": True, "factor_out": True}
DENSE: dict[str, Any] = {"kind": "residual", "architecture": Dense("clipswish")}
PLAIN: dict[str, Any] = {"kind": "residual", "architecture": Plain()}
# (method, data set): the flow's settings, and the shape its variational dequantiser has, if any.
MODELS: dict[tuple[str, str], tuple[dict[str, Any], tuple[int, int, int] | None]] = {
    ("monotone", "mnist"): ({"shape": (1, 28, 28)}, None),
    ("monotone", "cifar10"): ({"shape": COLOUR}, None),
    ("monotone", "imagenet32"): ({"shape": COLOUR, "blocks": WIDE}, None),
    ("monotone", "imagenet64"): (FACTORED, None),
    ("monotone_vdq", "cifar10"): ({"shape": COLOUR}, COLOUR),
    ("monotone_vdq", "imagenet32"): ({"shape": COLOUR, "blocks": WIDE}, COLOUR),
    ("i_densenet", "cifar10"): ({"shape": COLOUR, **DENSE}, None),
    ("i_densenet", "imagenet32"): ({"shape": COLOUR, "blocks": WIDE, **DENSE}, None),
    ("residual_flow", "cifar10"): ({"shape": COLOUR, **PLAIN}, None),
}


def published_counts() -> Counts:
    """Return the number of parameters of each published model that can be built here."""
    found: Counts = {}
    with torch.device("meta"):
        for place, (settings, noise) in MODELS.items():
            parts = [block_flow(**settings), *([VariationalDequantiser(noise)] if noise else [])]
            found[place] = sum(p.numel() for part in parts for p in part.parameters())
    return found
