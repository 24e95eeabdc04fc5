"""Draw the learning curves of image models, by step and by second."""

from pathlib import Path

from common.report.figures import PALETTE, Caption, panels, save
from monotone_flow.report.draw_fit import scaled_down
from monotone_flow.report.results import Result, set_name

BLOCKS = {"residual": PALETTE["blue"], "monotone": PALETTE["red"]}
OTHERS = (PALETTE["green"], PALETTE["purple"], PALETTE["orange"], PALETTE["sky"])
DASHED = "clipswish"


def ablation(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw the validation scores of all methods on an image set against steps and seconds."""
    figure, axes = panels(1, 2, width=4.0, height=3.4)
    for place, result in enumerate(results):
        arrays = result.arrays
        colour, line = style(result.method, place)
        for ax, against in zip(axes, ("step", "seconds"), strict=True):
            ax.plot(
                arrays[f"curve_{against}"],
                arrays["curve_valid"],
                line,
                color=colour,
                marker=".",
                label=result.label,
            )
    for ax, against in zip(axes, ("minibatches", "seconds of training"), strict=True):
        ax.set_xlabel(against)
        ax.set_xlim(left=0)
    axes[0].set_ylabel("validation [bits/dim]")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    stem = f"ablation_{dataset}"
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.svg",
        title=f"Learning curves: {set_name(dataset)}",
        caption=(
            "Bits per dimension of the averaged weights on validation images, lower is better: "
            "after equal steps (left) and equal seconds (right), those of the minibatches alone, "
            "on the machine that trained." + scaled_down(results)
        ),
        alt=f"Falling curves of {', '.join(result.name for result in results)}",
    )


def style(method: str, place: int) -> tuple[str, str]:
    """Return colour and line of a method: the colour tells the block, dashes the activation."""
    block, _, activation = method.partition("_")
    if block in BLOCKS and activation in ("cpila", DASHED):
        return BLOCKS[block], "--" if activation == DASHED else "-"
    return OTHERS[place % len(OTHERS)], "-"
