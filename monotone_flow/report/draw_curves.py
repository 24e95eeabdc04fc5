"""Draw learning curves: the loss on fresh points by step, one line for each model."""

from pathlib import Path

from matplotlib.lines import Line2D

from common.report.figures import PALETTE, Caption, panels, save
from monotone_flow.report.draw_fit import scaled_down
from monotone_flow.report.results import PANELS, SETS, Result, set_name

COLOURS = list(PALETTE.values())
COLUMNS = 4


def fit_curves(results: list[Result], folder: Path) -> Caption:
    """Draw the mean squared errors of all kinds of blocks in one panel."""
    figure, (ax,) = panels(1, 1, width=6.5, height=3.6)
    for result in results:
        colour = COLOURS[list(PANELS).index(result.method)]
        step, valid = result.arrays["curve_step"], result.arrays["curve_valid"]
        for seed, values in enumerate(valid.T):
            label = result.label if seed == 0 else None
            ax.semilogy(step, values, color=colour, lw=0.9, alpha=0.8, label=label)
    ax.set_xlabel("step")
    ax.set_ylabel("mean squared error")
    figure.legend(loc="outside right upper", fontsize=8)
    save(figure, folder / "fit_curves")
    return Caption(
        file="fit_curves.svg",
        title="Learning curves of the fit",
        caption="Mean squared error on fresh points, one line a seed." + scaled_down(results),
        alt="Falling curves, one colour for each kind of block",
    )


def toy_curves(results: list[Result], folder: Path) -> Caption:
    """Draw the distance of the scores from the entropy, one panel for each set."""
    names = [name for name in SETS if any(name in result.sets for result in results)]
    columns = min(COLUMNS, len(names))
    figure, axes = panels(-(-len(names) // columns), columns, width=3.2, height=2.7)
    for ax in axes[len(names) :]:
        ax.remove()
    for ax, name in zip(axes, names, strict=False):
        for place, result in enumerate(results):
            if name not in result.sets:
                continue
            floor = result.sets[name]["floor"]["value"]
            first = result.order.index(name) * result.seeds
            valid = result.arrays["curve_valid"][:, first : first + result.seeds]
            ax.plot(result.arrays["curve_step"], valid - floor, color=COLOURS[place], lw=0.9)
        ax.set_yscale("log")
        ax.set_title(set_name(name))
        ax.set_xlabel("step")
    axes[0].set_ylabel("above the entropy [nats]")
    lines = [Line2D([], [], color=COLOURS[place]) for place in range(len(results))]
    figure.legend(lines, [r.label for r in results], loc="outside lower center", ncols=4)
    save(figure, folder / "toy_curves")
    return Caption(
        file="toy_curves.svg",
        title="Learning curves of the plane densities",
        caption=(
            "Negative log-likelihood on fresh points minus the entropy of the true density, on a "
            "logarithmic scale; what the points' sampling puts below the entropy is not shown. One "
            "line a seed." + scaled_down(results)
        ),
        alt=f"Falling curves for {', '.join(map(set_name, names))}",
    )
