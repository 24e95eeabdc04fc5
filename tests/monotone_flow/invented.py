"""Invented score folders, as evaluations leave them, for tests of tables and figures."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from common.metrics.scores import read_arrays, write_scores
from monotone_flow.report.results import PANELS

# Method -> mean squared error, largest slope, what the bounds allow.
FITS: dict[str, tuple[float, float, float]] = {
    "residual": (1.5e-2, 3.6, 3.8),
    "scaled_residual": (6.0e-3, 11.0, 14.0),
    "scaled_mixed": (4.4e-3, 18.0, 95.0),
    "monotone": (8.0e-5, 20.1, 1500.0),
}
ORDER = ("rings", "2spirals", "moons")  # not that of the tables
FLOORS = {"rings": 2.6232, "2spirals": 2.6455, "moons": 2.3916}
# Method -> excess over the entropy on every set.
EXCESSES = {"monotone": 0.02, "i_densenet": 0.08}
# Method -> validation bits per dimension at the end; slower ones come later.
BITS = {
    "residual_clipswish": 2.45,
    "residual_cpila": 2.40,
    "monotone_clipswish": 2.42,
    "monotone_cpila": 2.33,
}
STEPS = 1000
LESS = "1,000 steps instead of 50,000"


class Lab:
    """Write runs, parameters and results of a profile `fast` below a folder, file by file."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.folder = folder / "results/fast/monotone_flow"
        self.section: dict[str, Any] = {"runs": {}, "train": {}}
        self.write_parameters()

    def fits(self, methods: Sequence[str] = tuple(PANELS), seeds: int = 3, lacks: str = "") -> None:
        """Add runs on the staircase."""
        for method in methods:
            error, slope, possible = FITS[method]
            rng = np.random.default_rng(list(method.encode()))
            errors = error * (1 + 0.05 * np.linspace(-1, 1, seeds) if seeds > 1 else np.ones(1))
            grid = np.linspace(-2, 2, 200)
            target = np.floor(grid + 2)
            fit = target + np.sqrt(errors)[:, None] * rng.standard_normal((seeds, 200))
            metrics = {
                "unit": "mse",
                "final": over_models(errors),
                "best": over_models(0.9 * errors),
                "lipschitz": {"bound": 0.951, "per_model": [0.951] * seeds},
                "largest_slope": {**over_models(np.full(seeds, slope)), "possible": possible},
                "certificate": certificate(),
            }
            arrays = {"grid": grid, "target": target, "fit": fit, "slope": np.ones_like(fit)}
            level = np.broadcast_to(errors, (10, seeds))
            self.add("staircase", method, metrics, arrays, level, lacks=lacks)

    def toys(
        self,
        methods: Sequence[str] = tuple(EXCESSES),
        sets: Sequence[str] = ORDER,
        seeds: int = 1,
        lacks: str = "",
    ) -> None:
        """Add runs on densities of the plane."""
        for method in methods:
            scores, arrays = {}, {}
            levels = []
            for place, name in enumerate(sets):
                rng = np.random.default_rng([*method.encode(), place])
                excess = EXCESSES[method] + 1e-3 * rng.standard_normal(seeds)
                levels += list(FLOORS[name] + excess)
                density = {"integral": 0.9998, "error": 1e-4}
                scores[name] = {
                    "published": {**over_models(FLOORS[name] + excess, 2e-3), "looks": 20},
                    "test": {**over_models(FLOORS[name] + excess, 3e-3), "points": 100_000},
                    "excess": over_models(excess, 1e-3),
                    "floor": {"value": FLOORS[name], "error": 1e-8},
                    "lipschitz_bound": 0.72 + 0.01 * place,
                    "integral": density,
                }
                arrays |= pictures(name, EXCESSES[method])
            certificates = {name: certificate(scores[name]["integral"]) for name in sets}
            metrics = {
                "unit": "nats",
                "sets": scores,
                "certificates": certificates,
                "certificate": certificate(density),
            }
            level = np.broadcast_to(levels, (10, len(levels)))
            self.add("toys", method, metrics, arrays, level, sets=list(sets), lacks=lacks)

    def images(
        self,
        methods: Sequence[str] = tuple(BITS),
        dataset: str = "digits",
        lacks: str = "",
        looks: int = 5,
    ) -> None:
        """Add runs on images whose validation scores fall to BITS, each at a pace of its own."""
        for place, method in enumerate(methods):
            bits = BITS[method]
            metrics = {
                "unit": "bits/dim",
                "dequantisation": "uniform",
                "test": {"mean": bits + 0.01, "se": 0.004, "se_estimator": 0.001, "items": 300},
                "valid": {"mean": bits, "se": 0.01},
                "lipschitz": {"bound": 0.904, "promised": 0.9039},
                "estimator": {"items": 16, "difference": 0.001, "se": 0.002},
                "certificate": certificate(),
            }
            rng = np.random.default_rng(list(method.encode()))
            step = np.linspace(STEPS / looks, STEPS, looks)
            arrays = {
                "samples": rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8),
                "curve_seconds": step * (place + 1) / 100,
                "curve_surrogate": bits + 2 / step,
            }
            self.add(dataset, method, metrics, arrays, np.full((looks, 1), bits), lacks=lacks)
            # One model: its scores have no second dimension.
            folder = self.scores(dataset, method)
            found = read_arrays(folder)
            found["curve_valid"] = found["curve_valid"][:, 0]
            written = {name: torch.from_numpy(array) for name, array in found.items()}
            write_scores(folder, json.loads((folder / "metrics.json").read_text()), written)
            run = self.section["runs"].pop(f"fast-{dataset}-{method}")
            self.section.setdefault("image_runs", {})[f"fast-{dataset}-{method}"] = run
            del self.section["train"][dataset][method]
        self.write_parameters()

    def add(
        self,
        dataset: str,
        method: str,
        metrics: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
        level: NDArray[np.float64],
        lacks: str = "",
        **train: Any,
    ) -> None:
        """Add one run whose losses on fresh points fall to level (looks, K)."""
        looks, models = level.shape
        self.section["runs"][f"fast-{dataset}-{method}"] = {"dataset": dataset, "method": method}
        self.section["train"].setdefault(dataset, {})[method] = train
        self.write_parameters()
        step = np.linspace(STEPS / looks, STEPS, looks)
        valid = level * (1 + 3 * np.exp(-step / 200))[:, None]
        found = {
            "training": {
                "status": "finished",
                "steps": STEPS,
                "steps_run": STEPS,
                "best_step": [STEPS] * models,
                "best_valid": valid[-1].tolist(),
            },
            "parameters": 5640,
            "models": models,
            "scaled_down": lacks,
            **metrics,
        }
        curve = {"step": step, "lr": 0 * step, "train": valid.mean(1), "valid": valid}
        named = {**{f"curve_{name}": values for name, values in curve.items()}, **arrays}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in named.items()}
        tensors = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
        write_scores(self.scores(dataset, method), found, tensors)

    def scores(self, dataset: str, method: str) -> Path:
        """Return where a run's scores lie."""
        return self.folder / "scores" / dataset / method

    def edit(self, dataset: str, method: str, **changes: Any) -> None:
        """Change numbers of a metrics.json; keys are joined by two underscores."""
        path = self.scores(dataset, method) / "metrics.json"
        found = json.loads(path.read_text())
        for joined, value in changes.items():
            *keys, last = joined.split("__")
            place = found
            for key in keys:
                place = place[key]
            place[last] = value
        path.write_text(json.dumps(found))

    def write_parameters(self) -> None:
        """Write params.yaml as far as the runs go."""
        text = yaml.safe_dump({"profile": "fast", "monotone_flow": self.section}, sort_keys=False)
        (self.root / "params.yaml").write_text(text)


def everything(folder: Path) -> Lab:
    """Write the runs that a profile without images has."""
    lab = Lab(folder)
    lab.fits(lacks="1,000 steps instead of 15,000")
    lab.toys(lacks=LESS)
    return lab


def over_models(values: NDArray[np.float64], error: float | None = None) -> dict[str, Any]:
    """Return a summary as metrics.json holds it; `error` is one over points, if there is one."""
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    over_seeds = sd / math.sqrt(len(values)) if sd is not None else None
    return {
        "mean": float(values.mean()),
        "sd": sd,
        "se": over_seeds if error is None else error,
        "per_model": values.tolist(),
    }


def certificate(density: dict[str, float] | None = None) -> dict[str, Any]:
    """Return a certificate as metrics.json holds it."""
    found: dict[str, Any] = {
        "round_trip": {
            "float32": {"max": 9e-6, "median": 2e-7},
            "float64": {"max": 3e-14, "median": 6e-16},
        },
        "logdet": {"max_error": 1e-14, "items": 20},
    }
    if density is not None:
        found["density"] = density
    return found


def pictures(name: str, excess: float, cells: int = 64) -> dict[str, NDArray[Any]]:
    """Return densities and counts on [-4, 4]^2 of a spot above, and right of, the middle."""
    axis = 8 * (np.arange(cells) + 0.5) / cells - 4
    first, second = np.meshgrid(axis, axis)
    area = (8 / cells) ** 2
    found: dict[str, NDArray[Any]] = {}
    for kind, counts, width in (("true", "data", 0.5), ("density", "samples", 0.5 + 5 * excess)):
        square = (first - 1) ** 2 + (second - 2) ** 2
        density = np.exp(-0.5 * square / width**2) / (2 * math.pi * width**2)
        found[f"{kind}_{name}"] = density
        rng = np.random.default_rng(len(name))
        found[f"{counts}_{name}"] = rng.poisson(20_000 * area * density).astype(np.int32)
    return found
