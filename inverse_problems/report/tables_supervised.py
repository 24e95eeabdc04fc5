"""The tables of the supervised networks: losses and blocks one by one, and the arm."""

from typing import Any

from common.report.tables import Column, Table
from inverse_problems.report.supervised_results import Supervised, SupervisedResults, worst


def ablation(results: SupervisedResults) -> list[Table]:
    """Return what each loss and each block does for the eight Gaussians, if any was run."""
    rows = []
    for result in results.values():
        if result.is_arm:
            continue
        posterior = result.metrics["posterior"]
        rows.append(
            {
                "task": result.name,
                "losses": ", ".join(result.metrics["losses"]),
                "blocks": result.metrics["blocks"],
                **result.columns("accuracy", "accuracy"),
                **result.columns("mmd", "posterior", "mmd"),
                "floor": posterior["floor"],
                **result.columns("modes", "posterior", "modes"),
                "of": posterior["of"],
                **result.columns("stray", "posterior", "stray"),
                **result.columns("wrong", "posterior", "wrong"),
                **result.columns("dependence", "dependence", "mmd"),
                "dependence_floor": result.metrics["dependence"]["floor"],
                **_shared(result),
            }
        )
    if not rows:
        return []
    return [
        Table(
            "supervised_mixture",
            "Eight Gaussians seen through their labels",
            "Label accuracy on test points; discrepancy (MMD, squared) of posterior samples to "
            "exact ones, mean over the labels, and that of two exact sets; modes reached, over all "
            "labels, a mode counting as reached with a quarter of the samples that are due to it "
            "within three standard deviations; share of samples further than that from all modes "
            "(of exact ones 0.011) and near a mode of another label; discrepancy of the latents of "
            "each label to N(0, I), and that of exact draws. ± is the standard error over seeds.",
            [
                Column("task", "labels, training"),
                Column("losses", "losses"),
                Column("blocks", "blocks", "integer"),
                Column("accuracy", "accuracy", "number", error="accuracy_se"),
                Column("mmd", "MMD to exact", "number", digits=3, error="mmd_se"),
                Column("floor", "of exact", "number", digits=3),
                Column("modes", "modes", "number", digits=3, error="modes_se"),
                Column("of", "of", "integer"),
                Column("stray", "between modes", "number", digits=3, error="stray_se"),
                Column("wrong", "wrong mode", "number", digits=3, error="wrong_se"),
                Column("dependence", "MMD of z given y", "number", digits=3, error="dependence_se"),
                Column("dependence_floor", "of N(0, I)", "number", digits=3),
                *SHARED,
            ],
            rows,
        )
    ]


def arm(results: SupervisedResults) -> list[Table]:
    """Return the scores of the arm, if it was run."""
    rows = []
    for result in results.values():
        if not result.is_arm:
            continue
        metrics = result.metrics
        rows.append(
            {
                "task": result.name,
                "losses": ", ".join(metrics["losses"]),
                **result.columns("mmd", "posterior", "mmd"),
                "floor": metrics["posterior"]["floor"],
                **result.columns("resimulation", "resimulation_error"),
                **result.columns("map", "map_error"),
                "reference_map": metrics["reference_map_error"]["mean"],
                **result.columns("map_resimulation", "map_resimulation"),
                **result.columns("forward", "forward_error"),
                **_shared(result),
            }
        )
    if not rows:
        return []
    return [
        Table(
            "supervised_arm",
            "Which configurations of the arm reach a point",
            "Discrepancy (MMD, squared) of posterior samples to those of a rejection sampler, mean "
            "over test observations, and that of two sets of the latter; median distance of the "
            "arm's end from where it should be, over all posterior samples; root mean square error "
            "of the most likely configuration (mean shift, bandwidth 0.1), of the network and of "
            "the rejection sampler; median distance of its end; median error of the network's own "
            "forward direction. ± is the standard error over seeds.",
            [
                Column("task", "training"),
                Column("losses", "losses"),
                Column("mmd", "MMD to rejection", "number", digits=3, error="mmd_se"),
                Column("floor", "of rejection", "number", digits=3),
                Column(
                    "resimulation", "re-simulation", "number", digits=3, error="resimulation_se"
                ),
                Column("map", "MAP error", "number", digits=3, error="map_se"),
                Column("reference_map", "of rejection", "number", digits=3),
                Column(
                    "map_resimulation",
                    "MAP re-simulation",
                    "number",
                    digits=3,
                    error="map_resimulation_se",
                ),
                Column("forward", "forward error", "number", digits=3, error="forward_se"),
                *SHARED,
            ],
            rows,
        )
    ]


SHARED = [
    Column("calibration", "calibration error", "number", digits=3, error="calibration_se"),
    Column("width", "68 % width", "number", digits=3, error="width_se"),
    Column("float32", "round trip, float32", "number", digits=2),
    Column("float64", "round trip, float64", "number", digits=2),
    Column("seeds", "seeds", "integer"),
    Column("parameters", "parameters", "integer"),
    Column("protocol", "protocol"),
]


def _shared(result: Supervised) -> dict[str, Any]:
    metrics = result.metrics
    return {
        **result.columns("calibration", "calibration_error"),
        **result.columns("width", "width_68"),
        "float32": worst(metrics["certificate"], "float32"),
        "float64": worst(metrics["certificate"], "float64"),
        "seeds": metrics["models"],
        "parameters": metrics["parameters"],
        "protocol": result.protocol,
    }
