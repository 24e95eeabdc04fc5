"""Draw memory and time of a training step against depth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from common.errors import UserError
from common.report.figures import PALETTE, Caption, panels, save

NAMES = {
    "plain": "plain",
    "checkpoint": "checkpoints",
    "invertible": "inverses",
    "reuse": "inverses, conditioners reused",
}
COLOURS = {"plain": "reference", "checkpoint": "orange", "invertible": "sky", "reuse": "blue"}
MARKERS = {"plain": "o", "checkpoint": "s", "invertible": "^", "reuse": "v"}
MEBIBYTE = 2**20


def memory(metrics: Mapping[str, Any], folder: Path) -> Caption:
    """Draw bytes kept on the left, time of a step over that of the plain one on the right.

    Args:
        metrics: the content of metrics.json, see `inverse_problems.memory`.
        folder: where memory.png and memory.svg go.

    Raises:
        UserError: the metrics are not those of a memory measurement.
    """
    try:
        rows, found = list(metrics["rows"]), metrics["summary"]
        images, device = metrics["images"], str(metrics["device"])
    except KeyError as error:
        raise UserError(
            f"memory figure: expected {error} in metrics.json; run inverse_problems.memory again"
        ) from None
    figure, (left, right) = panels(1, 2, width=4.6, height=3.6)
    for way, name in NAMES.items():
        own = [row for row in rows if row["backprop"] == way]
        depths = [row["depth"] for row in own]
        style: dict[str, Any] = {
            "color": PALETTE[COLOURS[way]],
            "marker": MARKERS[way],
            "ms": 5,
            "label": name,
        }
        sizes = [row["saved_bytes"] / MEBIBYTE for row in own]
        # Two ways that keep the same would hide each other.
        left.plot(depths, sizes, ls="--" if way == "reuse" else "-", **style)
        right.plot(depths, [row["ratio"] for row in own], **style)
        low, high = [row["ratio_q1"] for row in own], [row["ratio_q3"] for row in own]
        right.fill_between(depths, low, high, color=PALETTE[COLOURS[way]], alpha=0.15, lw=0)
    _annotate(left, [row for row in rows if row["backprop"] == "reuse"])
    ticks = sorted({row["depth"] for row in rows})
    for ax in (left, right):
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, [str(k) for k in ticks])
        ax.minorticks_off()
        ax.set_xlabel("K, steps per level")
    left.set_yscale("log")
    left.set_ylabel("activations kept [MiB]")
    left.set_title("Memory between pass and gradient")
    right.set_ylabel("time of a step / plain")
    right.set_title("Time")
    right.set_ylim(0, 1.35 * max(row["ratio_q3"] for row in rows))
    right.legend(loc="upper right", fontsize=8, ncols=2)
    save(figure, folder / "memory")
    deepest = max(ticks)
    growth = found["reuse"]["growth"]
    fallbacks = sum(found[way]["fallbacks"] for way in ("invertible", "reuse"))
    return Caption(
        file="memory.svg",
        title="Memory and time of a training step against depth",
        caption=(
            f"A step on {images['batch']} images of {images['size']} x {images['size']} through "
            f"Glow with {metrics['levels']} levels of K steps and conditioners of "
            f"{images['channels']} channels, freshly drawn; {device}. Left: bytes that "
            "automatic differentiation keeps, without weights; from the least K to "
            f"{deepest} they grow {_times(found['plain']['growth'])} plainly and "
            f"{_times(growth)} with inverses. The numbers are the largest errors of the inputs "
            "found again in float32, over the largest input; above "
            f"{metrics['bound']:g} a step is done again with checkpoints ({fallbacks} were). "
            "Right: median and quartiles over paired steps. Gradients differ from plain ones by "
            f"at most {_largest(found, 'largest_difference_float64'):.0e} in float64 and "
            f"{_largest(found, 'largest_difference_float32'):.0e} in float32, relative to their "
            "norm."
        ),
        alt=(
            "Bytes kept rise in proportion to depth plainly and with checkpoints, and stay level "
            "with inverses; beside them the time of a step, a small multiple of the plain one at "
            "every depth"
        ),
    )


def _annotate(ax: Axes, rows: list[dict[str, Any]]) -> None:
    """Write the reconstruction error above each point."""
    for row in rows:
        error = row["reconstruction_error"]
        words = f"{error:.0e}" if isinstance(error, int | float) else str(error)
        place = (row["depth"], row["saved_bytes"] / MEBIBYTE)
        ax.annotate(words, place, (0, 7), textcoords="offset points", ha="center", fontsize=7.5)


def _times(growth: float) -> str:
    return "not at all" if growth == 1 else f"{growth:.3g} times"


def _largest(found: Mapping[str, Mapping[str, Any]], key: str) -> float:
    return max(float(found[way][key]) for way in NAMES)
