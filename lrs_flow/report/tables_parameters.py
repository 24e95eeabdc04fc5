"""The parameter counts of the published configurations, computed from the models themselves."""

from functools import cache
from typing import Any, Literal, get_args

from common.report.tables import Column, Table
from lrs_flow.config import Model
from lrs_flow.model import parameter_count
from lrs_flow.report.results import DEPTHS

# D, flow steps, hidden units, residual blocks and bins of each table set. Source: the published
# settings of Neural Spline Flows (Durkan et al. 2019), which the LRS paper takes over.
COUPLING: dict[str, tuple[int, ...]] = {
    "POWER": (6, 10, 256, 2, 8),
    "GAS": (8, 10, 256, 2, 8),
    "HEPMASS": (21, 20, 128, 1, 8),
    "MINIBOONE": (43, 10, 32, 1, 4),
    "BSDS300": (63, 20, 128, 1, 8),
}
AUTOREGRESSIVE: dict[str, tuple[int, ...]] = {
    "POWER": (6, 10, 256, 2, 8),
    "GAS": (8, 10, 256, 2, 8),
    "HEPMASS": (21, 10, 256, 2, 8),
    "MINIBOONE": (43, 10, 64, 1, 4),
    "BSDS300": (63, 10, 512, 2, 8),
}
CIFAR10: dict[str, Any] = {
    "levels": 3,
    "steps": 7,
    "hidden": 96,
    "blocks": 3,
    "bins": 4,
    "batch_norm": True,
}
IMAGENET64: dict[str, Any] = {**CIFAR10, "levels": 4, "bins": 8, "multi_scale": True}
# Inferred from the parameters of the published plot; so many bins fit, on two levels.
DEPTH_STUDY: dict[str, Any] = {
    "levels": 2,
    "hidden": 96,
    "blocks": 2,
    "bins": 2,
    "batch_norm": True,
}
Kind = Literal["lrs", "rq", "q", "affine"]
LAYERS: dict[Literal["coupling", "autoregressive"], dict[str, tuple[int, ...]]] = {
    "coupling": COUPLING,
    "autoregressive": AUTOREGRESSIVE,
}
KINDS: tuple[Kind, ...] = get_args(Kind)
RATIONAL: tuple[Kind, ...] = ("lrs", "rq")
# (group, configuration, kind) -> trained numbers of one model.
Counts = dict[tuple[str, str, str], int]
GROUPS = {
    "coupling": "coupling",
    "autoregressive": "autoregressive",
    "images": "images",
    "depth": "MNIST depth study",
}


@cache
def depth_counts() -> Counts:
    """Count the trained numbers in the depth study's inferred architecture."""
    counts: Counts = {}
    for kind in RATIONAL:
        for depth in DEPTHS:
            model = Model(kind, steps=depth // 2, **DEPTH_STUDY)
            counts["depth", f"depth {depth}", kind] = parameter_count(model, (1, 28, 28), 256)
    return counts


@cache
def published_counts() -> Counts:
    """Count the trained numbers of every published configuration with each kind of map."""
    counts: Counts = {}
    for kind in KINDS:
        for group, sizes in LAYERS.items():
            for name, (features, steps, hidden, blocks, bins) in sizes.items():
                cfg: dict[str, Any] = {"steps": steps, "hidden": hidden, "blocks": blocks}
                model = Model(kind, **cfg, layer=group, bins=bins)
                counts[group, name, kind] = parameter_count(model, (features,), None)
        model = Model(kind, **CIFAR10)
        counts["images", "CIFAR-10", kind] = parameter_count(model, (3, 32, 32), 256)
        model = Model(kind, **IMAGENET64)
        counts["images", "ImageNet-64", kind] = parameter_count(model, (3, 64, 64), 256)
    return counts | depth_counts()


def excess(counts: Counts, group: str) -> dict[str, float]:
    """Return by how many per cent LRS exceeds RQ-NSF, by configuration of a group."""
    names = dict.fromkeys(name for found, name, _ in counts if found == group)
    return {n: 100 * (counts[group, n, "lrs"] / counts[group, n, "rq"] - 1) for n in names}


def parameters(counts: Counts) -> Table:
    """Return the counts of every configuration, and what LRS adds to RQ-NSF."""
    rows = []
    for group, words in GROUPS.items():
        for name, percent in excess(counts, group).items():
            kinds: dict[str, int | None] = {kind: counts.get((group, name, kind)) for kind in KINDS}
            below = "yes" if percent < 1 else "no"
            rows.append({"group": words, "name": name, **kinds, "excess": percent, "below": below})
    return Table(
        "parameters",
        "Parameters of the published configurations",
        "Trained numbers of one model, counted in the models of this folder at the published sizes "
        "(batch norm off in the tables' conditioners), and by how much LRS exceeds RQ-NSF. The "
        "poster says less than 1 %.",
        [
            Column("group", "layers"),
            Column("name", "configuration"),
            Column("lrs", "LRS", "integer"),
            Column("rq", "RQ-NSF", "integer"),
            Column("q", "Q-NSF", "integer"),
            Column("affine", "affine", "integer"),
            Column("excess", "LRS over RQ-NSF", "number", "%", decimals=2),
            Column("below", "less than 1 %"),
        ],
        rows,
        "The sizes of the autoregressive rows are second-hand. The depth study's architecture is "
        "inferred from its plot: 96 channels, 2 residual blocks, 2 bins, two levels.",
    )
