"""Draw samples of the trained priors, and how they learned."""

from pathlib import Path

import numpy as np

from common.metrics.scores import read_arrays
from common.report.figures import PALETTE, Caption, image_grid, panels, save
from inverse_problems.report.results import Results, set_name
from inverse_problems.report.tables_priors import prior_name

SHOWN = 12


def samples(results: Results, dataset: str, folder: Path) -> Caption:
    """Draw one row of samples for each prior of a set and temperature."""
    rows, labels = [], []
    for (name, prior), place in results.prior_folders.items():
        if name != dataset:
            continue
        arrays = read_arrays(place)
        for key in ("samples_1", "samples_0.7"):
            if key == "samples_0.7" and "bits_per_dim" not in results.priors[name, prior]:
                continue
            rows.append(arrays[key][:SHOWN])
            labels.append(prior_name(prior) + ("" if key == "samples_1" else ", T = 0.7"))
    figure = image_grid(np.concatenate(rows), len(rows), SHOWN, labels)
    save(figure, folder / f"samples_{dataset}")
    return Caption(
        file=f"samples_{dataset}.svg",
        title=f"Samples of the priors: {set_name(dataset)}",
        caption=(
            "The first samples of each prior; T: the latents are multiplied by it, 1 where nothing "
            "is said."
        ),
        alt=f"Rows of small images, one row for each of {len(rows)} priors and temperatures",
    )


def curves(results: Results, dataset: str, folder: Path) -> Caption | None:
    """Draw the validation loss by step of all priors that have one; None if none has."""
    found = []
    for (name, prior), place in results.prior_folders.items():
        metrics = results.priors[name, prior]
        if name == dataset and ("bits_per_dim" in metrics or "bound" in metrics):
            found.append((prior, "bits_per_dim" in metrics, read_arrays(place)))
    if not found:
        return None
    figure, axes = panels(1, len(found), width=3.6, height=3.0)
    for ax, (prior, is_flow, arrays) in zip(axes, found, strict=True):
        for key, colour in (("curve_train", "sky"), ("curve_valid", "blue")):
            if key in arrays:
                words = "train" if key == "curve_train" else "validation"
                ax.plot(arrays["curve_step"], arrays[key], color=PALETTE[colour], label=words)
        ax.set_title(prior_name(prior))
        ax.set_xlabel("step")
        ax.set_ylabel("bits per dimension" if is_flow else "loss [nats]")
        ax.legend(fontsize=8)
    save(figure, folder / f"curves_{dataset}")
    return Caption(
        file=f"curves_{dataset}.svg",
        title=f"Learning curves of the priors: {set_name(dataset)}",
        caption="Losses by step; the weights kept are those with the lowest validation loss.",
        alt="Falling curves, one panel for each prior",
    )
