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
from torch import Tensor

from common.datasets.toys import RADII, RING_STD
from common.metrics.scores import write_scores

# Method -> what it is trained as, and its gain in nats over the others.
TABLE: dict[str, tuple[dict[str, Any], float]] = {
    "gaussian": ({"kind": "gaussian"}, -3.0),
    "lrs_c": ({"kind": "lrs"}, 0.30),
    "rq_c": ({"kind": "rq"}, 0.25),
    "q_c": ({"kind": "q"}, 0.10),
    "q_published_c": ({"kind": "q", "boundary": "published"}, 0.05),
    "affine_c": ({"kind": "affine"}, -0.50),
    "lrs_small_c": ({"kind": "lrs", "hidden": 24}, 0.26),
    "lrs_ar": ({"kind": "lrs", "layer": "autoregressive"}, 0.45),
    "rq_ar": ({"kind": "rq", "layer": "autoregressive"}, 0.46),
    "affine_ar": ({"kind": "affine", "layer": "autoregressive"}, 0.0),
}
PLANE: dict[str, tuple[dict[str, Any], float]] = {
    "lrs_2": ({"kind": "lrs", "bound": 5.0}, 0.05),
    "rq_2": ({"kind": "rq", "bound": 5.0}, 0.07),
    "affine": ({"kind": "affine"}, 0.50),
    "ffjord": ({"kind": "ffjord"}, 0.20),
}
DEPTH: dict[str, tuple[dict[str, Any], float]] = {
    f"{kind}_d{depth}": ({"kind": kind, "steps": depth // 2}, 0.1 * (kind == "rq") - 0.05 * depth)
    for depth in (2, 4)
    for kind in ("lrs", "rq")
}
BASES = {"bsds300": 157.0, "red-wine": -11.0, "ionosphere": -20.0, "wine": -15.0}
CROSS_VALIDATED = ("red-wine", "ionosphere", "wine")
PARAMETERS = {"lrs": 1200, "rq": 1000, "q": 800, "affine": 500, "ffjord": 900, "gaussian": 20}


class Lab:
    """Write runs, parameters and results of a profile `fast` below a folder, file by file."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.folder = folder / "results/fast/lrs_flow"
        self.section: dict[str, Any] = {"runs": {}, "train": {}}
        self.write_inverse()

    def table(self, dataset: str, methods: Sequence[str], **train: Any) -> None:
        """Add runs on a set of vectors, two seeds or ten folds each."""
        folds = dataset in CROSS_VALIDATED
        models, items = (10, 18) if folds else (2, 400)
        for method in methods:
            model, gain = TABLE[method]
            values = BASES.get(dataset, -10.0) + gain + _noise(dataset, method, models, items)
            if folds:
                values[::3, -1] = math.nan  # folds differ in size by one
            self.add(dataset, method, model, values, folds=folds, **train)

    def plane(self, dataset: str, methods: Sequence[str], cells: int = 64, **train: Any) -> None:
        """Add runs on a set of the plane, one seed each."""
        true = ring_density(cells) if dataset == "rings" else picture_density(cells)
        area = (8.0 / cells) ** 2 if dataset == "rings" else (0.998 / cells) ** 2
        for method in methods:
            model, excess = PLANE[method]
            entropy = -2.5 if dataset == "rings" else 0.2
            values = entropy - excess + _noise(dataset, method, 1, 400)
            density = blur(true, cells * excess / 32)
            rng = np.random.default_rng(3)
            counts = rng.poisson(20_000 * area * density)
            data = rng.poisson(20_000 * area * true)
            arrays = {
                "density": density.astype(np.float32),
                "true_density": true.astype(np.float32),
                "histogram": counts.astype(np.int32),
                "data_histogram": data.astype(np.int32),
            }
            truth = {
                "log_likelihood": entropy,
                "entropy": -entropy,
                "excess": excess,
                "excess_se": 0.01,
                "excess_per_model": [excess],
            }
            tails = dataset == "rings"
            self.add(
                dataset,
                method,
                {**model, "tails": tails, "linear": False},
                values,
                arrays=arrays,
                metrics={"truth": truth},
                density=tails,
                **train,
            )

    def images(self, dataset: str, methods: Sequence[str], models: int = 3, **train: Any) -> None:
        """Add runs on a set of images."""
        side = {"digits": 8, "mnist": 28}.get(dataset, 32)
        shape = (12, 1 if side < 32 else 3, side, side)
        known = {**DEPTH, "lrs": ({"kind": "lrs"}, 0.0), "rq": ({"kind": "rq"}, 0.0)}
        for method in methods:
            model, more = known[method]
            bits = 3.0 + more + _noise(dataset, method, models, 200) / 10
            rng = np.random.default_rng(5)
            top = 17 if dataset == "digits" else 256
            arrays = {
                f"samples_{t:g}": rng.integers(0, top, shape).astype(np.uint8)
                for t in (0.5, 0.75, 1.0)
            }
            self.add(dataset, method, model, bits, unit="bits/dim", arrays=arrays, **train)

    def add(
        self,
        dataset: str,
        method: str,
        model: dict[str, Any],
        values: NDArray[np.float64],
        *,
        unit: str = "nats",
        folds: bool = False,
        arrays: dict[str, NDArray[Any]] | None = None,
        metrics: dict[str, Any] | None = None,
        density: bool = False,
        **train: Any,
    ) -> None:
        """Add one run with the scores (K, N) of its test items."""
        steps = 0 if model["kind"] == "gaussian" else train.pop("steps", 1000)
        scaled_down = train.pop("scaled_down", "")
        cfg = {"model": {**model, "scaled_down": scaled_down}, "steps": steps, "eval_every": 100}
        self.section["train"].setdefault(dataset, {})[method] = {**cfg, "models": len(values)}
        self.section["runs"][f"fast-{dataset}-{method}"] = {"dataset": dataset, "method": method}
        self.write_parameters()
        curve = np.arange(1, steps // 100 + 1) * 100.0
        sign = 1.0 if unit == "bits/dim" else -1.0
        level = sign * np.nanmean(values)
        falling = level + (2 + abs(level) / 5) * np.exp(-curve / 250)
        found = {
            "training": {
                "status": "finished",
                "steps": steps,
                "steps_run": steps,
                "best_step": [max(0, steps - 100 * (k % 3)) for k in range(len(values))],
            },
            "parameters": PARAMETERS[model["kind"]],
            "models": len(values),
            "cross_validated": folds,
            "unit": unit,
            "certificate": certificate(density),
            **{split: summary(values, folds) for split in ("test", "valid", "train")},
            **(metrics or {}),
        }
        tensors: dict[str, Tensor] = {
            "test": torch.from_numpy(values).float(),
            "curve_step": torch.from_numpy(curve),
            "curve_lr": torch.from_numpy(0 * curve),
            "curve_train": torch.from_numpy(falling + 0.1),
            "curve_valid": torch.from_numpy(falling),
            **{name: torch.from_numpy(array) for name, array in (arrays or {}).items()},
        }
        write_scores(self.scores(dataset, method), found, tensors)

    def scores(self, dataset: str, method: str) -> Path:
        """Return where a run's scores lie."""
        return self.folder / "scores" / dataset / method

    def edit(self, dataset: str, method: str, **changes: Any) -> None:
        """Change numbers of a metrics.json; keys are joined by two underscores."""
        path = self.scores(dataset, method) / "metrics.json"
        found = json.loads(path.read_text())
        for dotted, value in changes.items():
            *keys, last = dotted.split("__")
            place = found
            for key in keys:
                place = place[key]
            place[last] = value
        path.write_text(json.dumps(found))

    def write_parameters(self) -> None:
        """Write params.yaml as far as the runs go."""
        text = yaml.safe_dump({"profile": "fast", "lrs_flow": self.section}, sort_keys=False)
        (self.root / "params.yaml").write_text(text)

    def write_inverse(self, worse: float = 0.8, ratio: float = 1.2, bad: int = 0) -> None:
        """Write inverse.json; `worse` is the error of LRS over that of RQ-NSF."""
        accuracy = [
            {
                "setting": setting,
                "spline": spline,
                **{key: size * error for key, error in (("mean", 1e-6), ("p999", 1e-4))},
                "max": 4e-3 * size,
                "floor": 2e-6 * extreme,
                "not_finite": bad if spline == "lrs" else 0,
                "outside": 0,
            }
            for setting, extreme in (("8 bins", 1.0), ("8 bins, all x 10", 1e3))
            for spline, size in (("lrs", worse * extreme), ("rq", extreme))
        ]
        time = {
            "dataset": "wine",
            "method": "lrs_c",
            "peer": "rq_c",
            "samples": 10_000,
            "ms": 10.0,
            "peer_ms": 10.0 * ratio,
            "ratio": ratio,
            "ratio_q1": ratio - 0.05,
            "ratio_q3": ratio + 0.05,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"accuracy": accuracy, "time": [time], "device": "A processor"})
        (self.folder / "inverse.json").write_text(text)


def everything(folder: Path) -> Lab:
    """Write one run of each kind."""
    lab = Lab(folder)
    lab.plane("rings", list(PLANE), scaled_down="1,000 steps instead of 500,000")
    lab.plane("picture", ["lrs_2"], scaled_down="1,000 steps instead of 1,500,000")
    lab.table("red-wine", list(TABLE))
    lab.table("ionosphere", ["gaussian", "lrs_c", "rq_c"])
    table = ["gaussian", "lrs_c", "rq_c", "q_c", "q_published_c", "affine_c"]
    lab.table("bsds300", table[:1])
    lab.table("bsds300", table[1:], scaled_down="1,000 steps instead of 400,000")
    lab.table("miniboone-partial", ["lrs_c", "rq_c"], scaled_down="train split incomplete")
    lab.images("digits", list(DEPTH), scaled_down="8x8 digits instead of MNIST")
    return lab


def summary(values: NDArray[np.float64], folds: bool) -> dict[str, Any]:
    """Return a split's summary as metrics.json holds it."""
    means = np.nanmean(values, 1)
    counts = (~np.isnan(values)).sum(1)
    errors = np.nanstd(values, 1, ddof=1) / np.sqrt(counts)
    between = float(means.std(ddof=1)) if len(means) > 1 else "not finite"
    shared = float(values.mean(0).std(ddof=1) / math.sqrt(values.shape[1]))
    return {
        "mean": float(means.mean()),
        "se": float(between) / math.sqrt(len(means)) if folds else shared,
        "sd_models": between,
        "se_items": float(errors.mean()),
        "per_model": means.tolist(),
        "per_model_se": errors.tolist(),
        "items": counts.tolist(),
    }


def certificate(density: bool) -> dict[str, Any]:
    """Return a certificate as metrics.json holds it."""
    found: dict[str, Any] = {
        "round_trip": {
            "float32": {"max": 3e-5, "median": 2e-7},
            "float64": {"max": 1e-13, "median": 1e-16},
        },
        "logdet": {"max_error": 4e-14, "items": 6},
    }
    if density:
        found["density"] = {"integral": 0.9999, "error": 1e-5}
    return found


def ring_density(cells: int) -> NDArray[np.float64]:
    """Return four rings on [-4, 4]^2, of mass 1."""
    axis = 4 * ((2 * np.arange(cells) + 1) / cells - 1)
    radius = np.hypot(*np.meshgrid(axis, axis))
    density = sum(np.exp(-0.5 * ((radius - r) / RING_STD) ** 2) / r for r in RADII)
    return density / density.sum() / (8.0 / cells) ** 2


def picture_density(cells: int) -> NDArray[np.float64]:
    """Return something bright in the middle of the unit square, with a dark corner below left."""
    axis = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(axis, axis)
    density = 0.2 + np.exp(-((x - 0.5) ** 2 + (y - 0.6) ** 2) / 0.02)
    density[(x < 0.3) & (y < 0.3)] = 0.05
    return density / density.sum() / (0.998 / cells) ** 2


def blur(density: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the density smeared by a Gaussian of so many cells, its mass unchanged."""
    offsets = np.arange(-3 * math.ceil(width), 3 * math.ceil(width) + 1)
    kernel = np.exp(-0.5 * (offsets / max(width, 1e-3)) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        density = sum(k * np.roll(density, o, axis) for k, o in zip(kernel, offsets, strict=True))
    return density


def _noise(dataset: str, method: str, models: int, items: int) -> NDArray[np.float64]:
    """Return noise that is mostly the items' own, so that methods differ by little on each."""
    own = np.random.default_rng(len(dataset)).standard_normal((models, items))
    if dataset not in CROSS_VALIDATED:
        own = np.broadcast_to(own[:1], own.shape)
    rng = np.random.default_rng(list(method.encode()))
    return (
        own + 0.1 * rng.standard_normal((models, items)) + 0.01 * rng.standard_normal((models, 1))
    )
