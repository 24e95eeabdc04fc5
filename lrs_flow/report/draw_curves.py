"""Draw learning curves: the validation score by step, one panel for each data set."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from common.report.figures import PALETTE, Caption, panels, save
from lrs_flow.report.draw_style import colour, listed, scaled_down, stroke
from lrs_flow.report.results import IMAGES, PIECES, UCI, Result, Results, of_set, set_name

# The best and worst final scores span at least this share of a panel's height.
SPAN = 0.45
COLUMNS = 3


def groups(results: Results) -> dict[str, tuple[str, list[str]]]:
    """Return the figures to draw: stem -> title and sets, by what the sets have in common."""
    found = dict.fromkeys(dataset for dataset, _ in results)
    kinds = {
        "curves_plane": ("Learning curves: plane", ("rings", "picture")),
        "curves_uci": ("Learning curves: sets of the literature", (*UCI, *PIECES)),
        "curves_images": ("Learning curves: images", IMAGES),
    }
    chosen = {k: (title, [d for d in sets if d in found]) for k, (title, sets) in kinds.items()}
    taken = {dataset for _, sets in chosen.values() for dataset in sets}
    rest = [dataset for dataset in found if dataset not in taken]
    chosen["curves_small"] = ("Learning curves: small sets", rest)
    return {
        stem: (title, sets)
        for stem, (title, sets) in chosen.items()
        if any(result.trained.steps for d in sets for result in of_set(results, d))
    }


def curves(results: Results, stem: str, title: str, sets: list[str], folder: Path) -> Caption:
    """Draw the curves of a group of sets."""
    columns = min(COLUMNS, len(sets))
    rows = -(-len(sets) // columns)
    figure, axes = panels(rows, columns, width=4.2, height=3.2)
    for ax in axes[len(sets) :]:
        ax.remove()
    drawn: list[Result] = []
    for ax, dataset in zip(axes, sets, strict=False):
        found = of_set(results, dataset)
        trained = [result for result in found if result.trained.steps]
        _draw(ax, trained)
        _mark_gaussian(ax, [result for result in found if result.method == "gaussian"])
        ax.set_title(set_name(dataset))
        drawn += trained
    methods = {result.name: result for result in drawn}
    lines = [Line2D([], [], color=colour(r), ls=stroke(r), lw=1.3) for r in methods.values()]
    figure.legend(lines, list(methods), loc="outside right upper", fontsize=8)
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.svg",
        title=title,
        caption=(
            "Negative log-likelihood of the validation split, mean of seeds or folds, lower is "
            "better. Dots: the step whose parameters were kept, of each model. Every panel has its "
            "own scale, which is cut off above so that the last scores can be told apart. A dotted "
            "line is an autoregressive flow, a dashed one a variant; black: the closed-form "
            "Gaussian, as a number where it is off the scale." + scaled_down(drawn)
        ),
        alt=f"Falling curves for {listed(drawn)} on {', '.join(map(set_name, sets))}",
    )


def _draw(ax: Axes, trained: list[Result]) -> None:
    finals, lows = [], []
    for result in trained:
        step, valid = (result.arrays[f"curve_{name}"] for name in ("step", "valid"))
        ax.plot(step, valid, color=colour(result), ls=stroke(result), lw=1.3)
        seen = valid[np.isfinite(valid)]
        if seen.size:
            finals.append(float(seen[-1]))
            lows.append(float(seen.min()))
        kept = [s for s in result.metrics["training"]["best_step"] if s > 0]
        at = np.interp(kept, step, valid) if len(step) else []
        ax.plot(kept[: len(at)], at, "o", color=colour(result), markersize=3, alpha=0.6)
    if finals:
        span = max(max(finals) - min(lows), 0.02 * abs(min(lows)), 1e-3) / SPAN
        ax.set_ylim(min(lows) - 0.08 * span, min(lows) + 0.92 * span)
    ends = [f"{result.name}: {result.ending}" for result in trained if result.ending]
    ax.text(0.98, 0.97, "\n".join(ends), ha="right", va="top", fontsize=7.5, transform=ax.transAxes)
    ax.set_xlabel("step")
    ax.set_ylabel(trained[0].unit if trained else "")


def _mark_gaussian(ax: Axes, gaussian: list[Result]) -> None:
    for result in gaussian:
        level = -result.score("valid")[0]
        low, high = ax.get_ylim()
        if low <= level <= high:
            ax.axhline(level, color=PALETTE["reference"], lw=0.9, ls="-.")
        else:
            words = f"Gaussian: {level:.2f}"
            ax.text(0.98, 0.88, words, ha="right", va="top", fontsize=7.5, transform=ax.transAxes)
