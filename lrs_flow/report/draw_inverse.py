"""Draw how exact the inverses of the two rational splines are."""

from pathlib import Path
from typing import Any

from matplotlib.ticker import NullLocator

from common.report.figures import Caption, panels, save
from lrs_flow.report.draw_style import COLOURS
from lrs_flow.report.tables_inverse import SPLINES

MARKERS = {"mean": "o", "p999": "D", "max": "|"}
WORDS = {"mean": "mean", "p999": "99.9 %", "max": "max"}


def inverse_error(inverse: dict[str, Any], folder: Path) -> Caption:
    """Draw mean, 99.9 % quantile and maximum of the round-trip errors in each setting."""
    rows = inverse["accuracy"]
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    figure, (ax,) = panels(width=8.4, height=0.9 + 0.62 * len(settings))
    for row in rows:
        shift = 0.16 if row["spline"] == "lrs" else -0.16
        place = len(settings) - 1 - settings.index(row["setting"]) + shift
        shade, name = COLOURS[row["spline"]], SPLINES[row["spline"]]
        values = [row[key] for key in MARKERS]
        ax.plot([values[0], values[-1]], [place, place], color=shade, lw=1.4)
        for (key, marker), value in zip(MARKERS.items(), values, strict=True):
            label = f"{name}, {WORDS[key]}" if row["setting"] == settings[0] else None
            ax.plot(
                value, place, marker, color=shade, ms=9 if key == "max" else 5, label=label, ls=""
            )
        lost = [
            f"{row[k]:,} {w}"
            for k, w in (("not_finite", "not finite"), ("outside", "outside"))
            if row[k]
        ]
        if lost:
            ax.annotate(
                "  " + ", ".join(lost), (row["max"], place), va="center", fontsize=8, color=shade
            )
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(settings)), settings[::-1])
    ax.set_ylim(-0.6, len(settings) - 0.4)
    ax.grid(False, axis="y")
    ax.set_xlabel("|x' - x| in float32, after x to y and back, on [-3, 3]")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=6, fontsize=8, handletextpad=0.1)
    save(figure, folder / "inverse_error")
    failed = sum(row["not_finite"] + row["outside"] for row in rows)
    return Caption(
        file="inverse_error.svg",
        title="Error of the inverse, LRS and RQ-NSF",
        caption=(
            "Round trips of random splines in float32, from mild to extreme logits (factors of "
            "N(0, 1) in the labels): mean, 99.9 % quantile and maximum. The same points and "
            "shared logits for both. "
            + (
                "Values that are not finite or left the box are counted beside the bars."
                if failed
                else "No value was not finite, and none left the box."
            )
        ),
        alt="Bars from mean to maximal error for both splines in each setting",
    )
