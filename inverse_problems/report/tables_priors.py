"""The tables of trained priors: likelihoods, bounds, and whether flows are bijections."""

import math
from typing import Any

from common.report.tables import NOT_FINITE, Column, Table
from inverse_problems.report.results import METHODS, SEARCHED, Results, number, set_name

PRIORS = {
    "glow": "Glow",
    "glow_additive": "Glow, additive couplings",
    "glow_8bit": "Glow, 8-bit pixels",
    "glow_small": "Glow, smaller",
    "spline": "spline flow",
    "vae": "VAE",
    "dcgan": "DCGAN",
}


def prior_name(prior: str) -> str:
    """Return what people read."""
    prior = prior.removesuffix(SEARCHED)
    return PRIORS.get(prior, METHODS.get(prior, prior))


def priors(results: Results) -> list[Table]:
    """Return how well each prior fits its set, as far as its kind has a likelihood."""
    rows = [
        {
            "set": set_name(dataset),
            "prior": prior_name(prior),
            "parameters": metrics["parameters"],
            "latents": metrics["latents"],
            **_fit(metrics),
            "training": _training(metrics),
        }
        for (dataset, prior), metrics in results.priors.items()
    ]
    if not rows:
        return []
    return [
        Table(
            "priors",
            "The trained priors",
            "Bits per dimension of test images, lower is better: flows by their likelihood with "
            "uniform noise on the pixels, VAEs by their bound; ± is one standard error over "
            "images; only rows with the same pixel values compare. A bound from cross-entropy is "
            "in nats and no likelihood of pixels; a GAN has neither.",
            [
                Column("set", "set"),
                Column("prior", "prior"),
                Column("parameters", "parameters", "integer"),
                Column("latents", "latents", "integer"),
                Column("bits", "pixel values", "number", "bits", decimals=0),
                Column("test", "test", "number", "bits/dim", error="test_se"),
                Column("valid", "validation", "number", "bits/dim"),
                Column("train", "train", "number", "bits/dim"),
                Column("bound", "bound", "number", "nats", error="bound_se"),
                Column("training", "training"),
            ],
            rows,
        )
    ]


def certificates(results: Results) -> list[Table]:
    """Return whether the flows invert, and whether their log-determinant is exact."""
    rows = []
    for (dataset, prior), metrics in results.priors.items():
        found = metrics.get("certificate")
        if found is None:
            continue
        trip = found.get("round_trip", {})
        rows.append(
            {
                "set": set_name(dataset),
                "prior": prior_name(prior),
                "float32": _shown(trip.get("float32", {}).get("max")),
                "float64": _shown(trip.get("float64", {}).get("max")),
                "logdet": _shown(found.get("logdet", {}).get("max_error")),
            }
        )
    if not rows:
        return []
    return [
        Table(
            "certificate",
            "Inversion of the trained flows",
            "Largest error of a round trip over test images, in units of the pixels' levels, and "
            "of the log-determinant against the exact Jacobian, in nats.",
            [
                Column("set", "set"),
                Column("prior", "prior"),
                Column("float32", "round trip, float32", "number", digits=2),
                Column("float64", "round trip, float64", "number", digits=2),
                Column("logdet", "log-determinant", "number", digits=2),
            ],
            rows,
        )
    ]


def _fit(metrics: dict[str, Any]) -> dict[str, Any]:
    if "bits_per_dim" in metrics:
        found = metrics["bits_per_dim"]
        return {
            "bits": _shown(found.get("bits")),
            "test": _shown(found["test"]["mean"]),
            "test_se": number(found["test"]["se"]),
            "valid": _shown(found["valid"]["mean"]),
            "train": _shown(found["train"]["mean"]),
        }
    if "bound" not in metrics:
        return {}
    bound = metrics["bound"]
    row: dict[str, Any] = {"bound": number(bound["test"]["nats"])}
    row["bound_se"] = number(bound["test"]["se"])
    if bound["is_likelihood"]:
        row |= {"test": bound["test"]["bits_per_dim"], "test_se": bound["test"]["bits_per_dim_se"]}
        row |= {name: bound[name]["bits_per_dim"] for name in ("valid", "train")}
    return row


def _training(metrics: dict[str, Any]) -> str:
    training = metrics["training"]
    words = f"{training['steps_run']:,} of {training['steps']:,} steps"
    if training["status"] == "diverged":
        words += ", then diverged"
    scaled = metrics.get("scaled_down", "")
    return f"{words}; {scaled}" if scaled else words


def _shown(value: Any) -> float | str | None:
    """Return a number of the metrics for a table; words stand for those that are not finite."""
    if value is None:
        return None
    shown = number(value)
    return shown if math.isfinite(shown) else NOT_FINITE
