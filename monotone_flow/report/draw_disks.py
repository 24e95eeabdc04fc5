"""Draw Theorem 4: the disks of possible differences, and differences of real maps in them."""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Generator, Tensor

from common.report.figures import PALETTE, Caption, panels
from monotone_flow.blocks import KINDS, Kind, block
from monotone_flow.saturated import bends, cpila, rotations
from monotone_flow.theorem import Disk, disk, inclusion

NAMES: dict[Kind, str] = {
    "residual": "Residual",
    "inverse_residual": "Inverse residual",
    "monotone": "Monotone",
}
# How nets are made, how many, pairs of points of each, and their colour.
NETS = {
    "G a rotation times L": (rotations, 240, 1, PALETTE["green"]),
    "G bent, its constant is L": (bends, 100, 15, PALETTE["blue"]),
    "G of random weights, bounded by L": (cpila, 100, 5, PALETTE["red"]),
}
# What the solver leaves, over the shortest p of 0.1, counts as inside.
ROUNDING = 1e-9


def disks(lipschitz: float = 0.8) -> tuple[Figure, Caption]:
    """Draw one panel for each class, for G in the plane with constants up to L.

    Raises:
        NotConverged: a map could not be computed.
    """
    bounds = {kind: disk(kind, lipschitz) for kind in KINDS}
    smaller = disk("monotone", inclusion(lipschitz))
    figure, axes = panels(1, len(KINDS), width=4.0, height=5.0)
    for ax, kind in zip(axes, KINDS, strict=True):
        for other in KINDS:
            _circle(ax, bounds[other], color="#aaaaaa", lw=0.9)
        _circle(ax, smaller, color="#777777", lw=0.9, ls=":")
        _circle(ax, bounds[kind], color=PALETTE["reference"], lw=1.2)
        drawn = differences(kind, lipschitz)
        for (name, q), (*_, colour) in zip(drawn.items(), NETS.values(), strict=True):
            ax.scatter(
                q[:, 0], q[:, 1], s=5, color=colour, alpha=0.7, lw=0, label=name, rasterized=True
            )
        arrow = {"arrowstyle": "-|>", "color": PALETTE["reference"], "lw": 1.5, "shrinkB": 0}
        ax.annotate("", (1, 0), (0, 0), arrowprops={**arrow, "shrinkA": 0})
        ax.set_title(_title(kind, bounds[kind], torch.cat(list(drawn.values()))), fontsize=9.5)
        outer = bounds["monotone"]
        ax.set_xlim(-0.06 * outer.centre, 2.06 * outer.centre)
        ax.set_ylim(-1.06 * outer.radius, 1.06 * outer.radius)
        ax.set_aspect("equal")
        ax.set_xlabel("q along p, in lengths of p")
    axes[0].set_ylabel("q across p, in lengths of p")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, markerscale=2.5)
    return figure, Caption(
        file="disks.svg",
        title="Where differences of a map can lie",
        caption=(
            f"Theorem 4 in the plane, for Lip(G) up to {lipschitz:g}. For two points at a distance "
            "p (arrow, of length one) the difference q of their images lies in the black disk of "
            "the class; grey: the disks of the two other classes; all panels have one scale. "
            "Dots: pairs of points through blocks, by the code that is trained, turned and scaled "
            "so that p is the arrow. Rotations lie on the circle, bent nets of the same constant "
            "anywhere in the disk, and nets with random weights, whose layers have the same "
            "product of norms, near the tip of p: they say little about the bound. Dotted: the "
            f"monotone class of L / (2 - L) = {inclusion(lipschitz):.3f}, which holds both "
            f"residual classes and touches them. Angles between p and q: up to "
            f"{_degrees(bounds['residual']):.0f} degrees in both residual classes, "
            f"{_degrees(outer):.0f} in the monotone one."
        ),
        alt=(
            "Three panels with a small, a middle and a large black circle, dots in each of them on "
            "the circle and inside, and none outside"
        ),
    )


def differences(kind: Kind, lipschitz: float) -> dict[str, Tensor]:
    """Return q of pairs of points for each of NETS, (n, 2) along and across p, over |p|.

    The points of a pair are 0.1 to 10 apart.
    """
    generator = Generator().manual_seed(0)
    found = {}
    for name, (make, models, pairs, _) in NETS.items():
        net = make(models, 2, lipschitz, generator)
        x = 2 * torch.randn(models, 2, pairs, generator=generator, dtype=torch.float64)
        p = torch.randn(models, 2, pairs, generator=generator, dtype=torch.float64)
        share = torch.rand(models, 1, pairs, generator=generator, dtype=torch.float64)
        size = 10 ** (2 * share - 1)
        p = size * p / p.norm(dim=1, keepdim=True)
        z, _ = block(kind, net, torch.cat((x + p, x), -1), logdet=False)
        q = z[..., :pairs] - z[..., pairs:]
        along = (p * q).sum(1)
        across = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        scaled = torch.stack((along, across), -1) / p.square().sum(1).unsqueeze(-1)
        found[name] = scaled.flatten(0, 1)
    return found


def _title(kind: Kind, bounds: Disk, q: Tensor) -> str:
    p = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    excess = bounds.excess(p, q)
    outside = int((~(excess <= ROUNDING)).sum())
    low, high = bounds.slopes
    return (
        f"{NAMES[kind]}: centre {bounds.centre:.3f}, radius {bounds.radius:.3f}\n"
        f"stretch from {low:.3f} to {high:.3f}\n"
        f"farthest of {len(q):,} pairs: {float(excess.max()) + bounds.radius:.3f}, "
        f"{outside or 'none'} outside"
    )


def _circle(ax: Axes, shown: Disk, **style: object) -> None:
    ax.add_patch(Circle((shown.centre, 0), shown.radius, fill=False, **style))


def _degrees(shown: Disk) -> float:
    return math.degrees(shown.angle)
