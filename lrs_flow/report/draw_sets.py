"""Draw how far LRS is ahead of each peer, set by set."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from common.report.figures import PALETTE, Caption, panels, save
from lrs_flow.report.draw_style import colour, scaled_down
from lrs_flow.report.paired import Difference
from lrs_flow.report.results import set_name

COLUMNS = 3
# A peer so many times further behind than the close ones is named at the edge, not drawn to scale.
FAR = 4.0
# Those that set the scale; the others are known to be far behind.
CLOSE = ("rq", "q")


def comparison(differences: list[Difference], stem: str, title: str, folder: Path) -> Caption:
    """Draw LRS minus each peer with two standard errors, a panel for each set.

    The Gaussian is left out.
    """
    differences = [d for d in differences if d.peer.method != "gaussian"]
    sets = list(dict.fromkeys(d.ours.dataset for d in differences))
    columns = min(COLUMNS, len(sets))
    rows = -(-len(sets) // columns)
    most = max(sum(d.ours.dataset == dataset for d in differences) for dataset in sets)
    figure, axes = panels(rows, columns, width=5.4, height=1.0 + 0.34 * most)
    for ax in axes[len(sets) :]:
        ax.remove()
    for ax, dataset in zip(axes, sets, strict=False):
        _draw(ax, [d for d in differences if d.ours.dataset == dataset])
        ax.set_title(set_name(dataset))
    save(figure, folder / stem)
    runs = [run for d in differences for run in (d.ours, d.peer)]
    return Caption(
        file=f"{stem}.svg",
        title=title,
        caption=(
            "Gain of LRS over each peer on the same test items; right of the line LRS is better. "
            "Bars are two standard errors: over folds where a set is cross-validated, else over "
            "test items and seeds together. Every panel has its own scale; a peer too far behind "
            "for it stands at the edge with an arrow. Numbers: the gain and its two standard "
            "errors. (C) coupling, (AR) autoregressive." + scaled_down(runs)
        ),
        alt="Points with error bars right or left of zero, for " + ", ".join(map(set_name, sets)),
    )


def _draw(ax: Axes, differences: list[Difference]) -> None:
    reach = _reach(differences)
    ax.axvline(0, color=PALETTE["reference"], lw=0.9)
    for place, d in enumerate(reversed(differences)):
        if not math.isfinite(d.gain) or "diverged" in d.outcome:
            ax.text(0, place, f"  {d.outcome}", va="center", fontsize=8)
            continue
        at = min(max(d.gain, -reach), reach)
        if at == d.gain:
            ax.errorbar(at, place, xerr=2 * d.se, fmt="o", color=colour(d.peer), capsize=3, ms=4)
        else:
            ax.plot(at, place, ">" if at > 0 else "<", color=colour(d.peer), ms=6)
        text = f"{d.gain:+.3f} ± {2 * d.se:.3f}"
        ax.annotate(
            text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    labels = [_label(d) for d in reversed(differences)]
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ends = [d.gain + side * 2 * d.se for d in differences for side in (-1, 1)]
    low, high = max(-reach, min([0.0, *ends])), min(reach, max([0.0, *ends]))
    margin = 0.08 * (high - low)
    ax.set_xlim(low - margin, high + margin)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(False, axis="y")
    unit = differences[0].ours.unit
    ax.set_xlabel(f"gain of LRS [{unit}]", fontsize=9)


def _label(d: Difference) -> str:
    if d.ours.method == "lrs_small_c":
        return f"{d.peer.name}, equal parameters"
    return d.peer.name


def _reach(differences: list[Difference]) -> float:
    """Return how far the axis goes to either side."""

    def size(d: Difference) -> float:
        return abs(d.gain) + 2 * d.se

    finite = [d for d in differences if math.isfinite(d.gain)]
    close = [size(d) for d in finite if d.peer.trained.model.kind in CLOSE]
    if not finite:
        return 1.0
    largest = max(map(size, finite))
    return min(largest, FAR * max(close)) if close else largest
