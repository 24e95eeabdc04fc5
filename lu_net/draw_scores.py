"""Draw what is not an image: scores by class, learning curves, latent histograms."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from common.report.figures import PALETTE, Caption, latent_histogram, panels, save
from lu_net.draw_images import CLASSES
from lu_net.results import SETS, Result, listed, number, scaled_down, shown

# Methods whose mean score is at most this many times the best one share the close-up.
CLOSE = 1.6


def nll(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw bits per dimension of each class and their mean, with two standard errors."""
    means = {r.method: r.score("test", "bits_per_dim")[0] for r in results}
    best = min((m for m in means.values() if np.isfinite(m)), default=np.nan)
    close = [r for r in results if means[r.method] <= CLOSE * best]
    everything = 0 < len(close) < len(results)
    figure, axes = panels(1 + everything, 1, width=8.2, height=3.1)
    items = results[0].metrics["test"]["items"]
    classes = CLASSES.get(dataset, [str(k) for k in range(len(items))])
    groups = [results, close] if everything else [results]
    for ax, group in zip(axes, groups, strict=True):
        for place, result in enumerate(group):
            score = result.metrics["test"]["bits_per_dim"]
            values = np.array([number(v) for v in [*score["per_model"], score["mean"]]])
            errors = np.array([number(v) for v in [*score["per_model_se"], score["se"]]])
            at = np.append(np.arange(len(items)), len(items) + 0.5)
            at += 0.6 * ((place + 0.5) / len(group) - 0.5)
            label = f"{result.name}: mean {shown(means[result.method])}"
            if result.ending:
                label += f"\n{result.ending}"
            ax.errorbar(
                at,
                values,
                2 * errors,
                fmt="osD^v"[results.index(result) % 5],
                color=result.colour,
                markersize=4,
                capsize=2,
                linewidth=1.2,
                label=label,
            )
        ax.set_xticks([*range(len(items)), len(items) + 0.5], [*classes, "mean"])
        ax.tick_params(axis="x", labelsize=8 if max(map(len, classes)) > 4 else 9)
        ax.set_xlim(-0.6, len(items) + 1.1)
        ax.axvline(len(items) - 0.05, color=PALETTE["reference"], linewidth=0.6)
        ax.grid(False, axis="x")
        ax.set_ylabel("bits/dim")
        ax.set_xlabel("class")
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9)
    if everything:
        axes[0].set_ylim(bottom=min(0, axes[0].get_ylim()[0]))
        left_out = [r.name for r in results if r not in close]
        axes[1].set_title(f"Close-up without {', '.join(left_out)}", fontsize=10)
    name = SETS.get(dataset, dataset)
    stem = f"nll_{dataset}"
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.svg",
        title=f"{name}: likelihood of the test images by class",
        caption=(
            "Negative log-likelihood in standard bits per dimension (every Jacobian of "
            "preprocessing counted), lower is better; each class is scored by its own model. "
            f"{sum(items):,} test images, {_range(items)} of each class, {draws(results)}. Bars "
            "are two standard errors over images and noise draws." + scaled_down(results)
        ),
        alt=f"Points with error bars for {listed(results)} in each class",
    )


def curves(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw training loss and selection score by epoch, and the epochs that were kept.

    The published objective's loss is on a scale of its own, so only its selection score is drawn.
    """
    key, unit = ("nats", "nats") if dataset == "mixture" else ("bits_per_dim", "bits/dim")
    trained = [result for result in results if result.trained.epochs]
    baseline = [result for result in results if result.method == "gaussian"]
    figure, axes = panels(1, max(1, len(trained)), width=3.5, height=3.7)
    for ax, result in zip(axes, trained, strict=False):
        lines = [(result, "--", "kept model"), *((r, "-.", r.name) for r in baseline)]
        bounds = _draw_curve(ax, result)
        for scored, style, words in lines:
            test, _ = scored.score("test", key)
            if np.isfinite(test):
                label = f"test, {words}: {test:.3f}"
                ax.axhline(test, color=scored.colour, ls=style, lw=1.1, label=label)
                bounds.append(test)
        if dataset == "mixture":
            truth, _ = result.score("test", "true_nats")
            label = f"test, true density: {truth:.3f}"
            ax.axhline(truth, color=PALETTE["reference"], ls=":", lw=1.3, label=label)
            bounds.append(truth)
        _scale(ax, bounds, unit)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title("\n".join(filter(None, [result.name, result.ending])), fontsize=10)
        ax.set_xlabel("epoch")
        ax.legend(loc="upper right", fontsize=8)
    name = SETS.get(dataset, dataset)
    stem = f"curves_{dataset}"
    save(figure, folder / stem)
    words = "nats" if unit == "nats" else "standard bits per dimension"
    published = any(r.trained.objective == "published" for r in trained)
    return Caption(
        file=f"{stem}.svg",
        title=f"{name}: learning curves",
        caption=(
            f"Negative log-likelihood in {words}, mean of the models, lower is better; "
            "every panel has its own scales. Triangles: the epoch whose parameters were kept, of "
            "each model, by its score on the selection split; 0 is the initialisation. "
            "Horizontal lines: scores on the test split."
            + (
                " The published objective's training loss is on a scale of its own and left out; "
                "it selects on the test split, as was published."
                if published
                else ""
            )
            + scaled_down(trained)
        ),
        alt=f"Curves by epoch for {listed(trained)}",
    )


def latents(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw histograms of the encoded test images' coordinates."""
    figure, axes = panels(1, len(results), width=2.9, height=2.9)
    for ax, result in zip(axes, results, strict=True):
        histogram(ax, result)
    name = SETS.get(dataset, dataset)
    stem = f"latents_{dataset}"
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.svg",
        title=f"{name}: latents",
        caption=(
            f"Coordinates of the encoded test images, {len(results[0].arrays['latents']):,} of "
            "them spread evenly over all images and classes, against the N(0, 1) density they "
            "should follow. Every panel has its own vertical scale; the share outside the axis is "
            "printed." + scaled_down(results)
        ),
        alt=f"Histograms with a bell curve over them for {listed(results)}",
    )


def histogram(ax: Axes, result: Result) -> None:
    """Draw the histogram of one method's latent coordinates, under name, mean and variance."""
    z = result.arrays["latents"].astype(np.float64)
    latent_histogram(ax, z)
    ax.set_ylim(top=1.4 * ax.get_ylim()[1])  # room for the legend
    ax.legend(loc="upper right", fontsize=7.5, handlelength=1.2)
    finite = z[np.isfinite(z)]
    numbers = "no finite value"
    if finite.size:
        numbers = f"mean {finite.mean():z.2f}, variance {finite.var():.2f}"
    ax.set_title("\n".join(filter(None, [result.name, result.ending, numbers])), fontsize=9)


def _draw_curve(ax: Axes, result: Result) -> list[float]:
    """Draw one method's curve and kept epochs; return the finite values drawn."""
    epoch, train, select = (result.curve[key] for key in ("epoch", "train", "select"))
    drawn = []
    if result.trained.objective == "likelihood":
        ax.plot(epoch, train, color=result.colour, alpha=0.45, lw=1.2, label="training")
        drawn.append(train)
    seen = np.isfinite(select)
    split = {"valid": "validation", "test": "test, selects the epoch"}[result.trained.select]
    ax.plot(
        epoch[seen],
        select[seen],
        color=result.colour,
        marker="." if seen.sum() < 15 else "",
        label=split,
    )
    drawn.append(select)
    kept = result.metrics["training"].get("best_epoch", [])
    if kept:
        where = f"{min(kept)}" if min(kept) == max(kept) else f"{min(kept)} to {max(kept)}"
        ax.plot(
            kept,
            [0.03] * len(kept),
            "^",
            color=PALETTE["reference"],
            alpha=0.5,
            markersize=5,
            transform=ax.get_xaxis_transform(),
            label=f"epoch kept: {where}",
        )
    values = np.concatenate(drawn)
    return list(values[np.isfinite(values)])


def _scale(ax: Axes, values: list[float], unit: str) -> None:
    """Leave room for the legend and the marks; go over to a logarithmic scale for wide ranges."""
    ax.set_ylabel(unit)
    if not values:
        return
    low, high = min(values), max(values)
    if 0 < 4 * low < high:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_ylabel(f"{unit} (logarithmic)")
        low, high = np.log(low), np.log(high)
        span = high - low or 1.0
        ax.set_ylim(np.exp(low - 0.12 * span), np.exp(high + 0.6 * span))
    else:
        span = high - low or 1.0
        ax.set_ylim(low - 0.12 * span, high + 0.6 * span)


def draws(results: list[Result]) -> str:
    """Say how many noise draws each image is scored with."""
    numbers = {r.evaluated.draws for r in results}
    if len(numbers) == 1:
        return f"{numbers.pop()} noise draws of each"
    return "noise draws of each: " + ", ".join(f"{r.evaluated.draws} ({r.name})" for r in results)


def _range(items: list[int]) -> str:
    return f"{min(items)}" if min(items) == max(items) else f"{min(items)} to {max(items)}"
