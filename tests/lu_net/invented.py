"""Small data sets, models and results for tests of what follows training."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from common.bijections.registry import randomise
from common.datasets.dataset import Dataset, Split
from common.datasets.mixture import GaussianMixture
from common.training.weights import write_weights
from lu_net.config import Model, Train
from lu_net.model import Bank, Stack, builder
from lu_net.protocol import Evaluate

SIZES, SHAPE, LEVELS = (9, 5, 7), (1, 2, 2), 17
LU_NET = Train(Model("lu_net", layers=2), dtype="float64")
EVALUATE = Evaluate(draws=3, train_items=6, samples=4, steps=3, certified=4)


def images(sizes: tuple[int, ...] = SIZES, shape: tuple[int, ...] = SHAPE) -> Dataset:
    """Return images whose classes differ in size; train has two more of each class than test."""
    generator = torch.Generator().manual_seed(0)
    splits = []
    for more in (2, 0, 0):
        y = torch.cat([torch.full((n + more,), k) for k, n in enumerate(sizes)])
        x = torch.randint(0, LEVELS, (len(y), *shape), generator=generator, dtype=torch.uint8)
        splits.append(Split(x, y))
    return Dataset("invented", *splits, levels=LEVELS, classes=len(sizes))


def points(n: int = 300) -> Dataset:
    """Return draws of the published mixture."""
    generator = torch.Generator().manual_seed(0)
    x = GaussianMixture.published().sample(3 * n, generator=generator).split(n)
    splits = [Split(part, torch.zeros(n, dtype=torch.int64)) for part in x]
    return Dataset("mixture", *splits, levels=None, classes=4)


def model(cfg: Train, data: Dataset) -> Bank:
    """Return a trained model's stand-in: well conditioned, and no two models alike."""
    models = data.classes if cfg.model.per_class else 1
    bank = builder(cfg.model)(cfg.model, data.shape, data.levels, models)
    for k, flow in enumerate(bank.each):
        randomise(flow.bijection, k)
    return bank.to(dtype=getattr(torch, cfg.dtype)).eval()


def gaussian(mean: Tensor, scale: Tensor) -> Bank:
    """Return Gaussians in logit space that are N(mean, diag(scale)^2), (K, D) each, for `SHAPE`."""
    cfg = Model("gaussian")
    bank = builder(cfg)(cfg, SHAPE, LEVELS, len(mean)).double().eval()
    assert isinstance(bank, Stack)
    (layer,) = bank.layers()
    with torch.no_grad():
        layer.packed.copy_((1 / scale).diag_embed())
        layer.bias.copy_(-mean / scale)
    return bank


def write_parameters(folder: Path, train: dict[str, Any], method: str = "lu_net") -> None:
    """Write params.yaml for one method on the digits, to be evaluated in a moment."""
    cfg = {"draws": 2, "train_items": 5, "samples": 3, "steps": 3, "certified": 4}
    section = {"train": {"digits": {method: train}}, "evaluate": {"digits": {method: cfg}}}
    text = yaml.safe_dump({"profile": "fast", "lu_net": section})
    (folder / "params.yaml").write_text(text)


def write_training(folder: Path, bank: Bank, method: str = "lu_net") -> Path:
    """Write what a training of two epochs on the digits leaves; return where."""
    out = folder / "results/fast/lu_net/digits" / method
    out.mkdir(parents=True)
    write_weights(out / "weights.pt", bank.tensors(), {"models": bank.models})
    status = {"status": "finished", "epochs": 2, "epochs_run": 2, "best_epoch": [2] * bank.models}
    (out / "status.json").write_text(json.dumps(status))
    (out / "curve.csv").write_text(
        "epoch,step,lr,train,select\n1,7,0.001,2.0,nan\n2,14,0.001,1.0,1.5\n"
    )
    return out


def scores(bits: float, classes: int = 3) -> dict[str, Any]:
    """Return a summary as metrics.json holds it."""
    return {
        "mean": bits,
        "se": 0.012,
        "per_model": [bits + 0.01 * k for k in range(classes)],
        "per_model_se": [0.02] * classes,
    }


def metrics(bits: float = 2.0, status: str = "finished", epochs: int = 40) -> dict[str, Any]:
    """Return the metrics.json of an image model."""
    offset = -0.25
    h = bits - offset
    test = {
        "bits_per_dim": scores(bits),
        "logit_space": scores(h),
        "lu_net_units": scores(h - 0.5),
        "realnvp_units": scores(h + 7.994353436858858),
        "fitted_gaussian_bits_per_dim": scores(bits + 0.3),
        "items": [9, 5, 7],
    }
    trip = {"max": 3e-6, "median": 2e-7}
    return {
        "training": {"status": status, "epochs": epochs, "epochs_run": epochs, "best_epoch": [1]},
        "test": test,
        "train": {"bits_per_dim": scores(bits - 0.1)},
        "certificate": {
            "round_trip": {"float32": dict(trip), "float64": {"max": 1e-14, "median": 1e-16}},
            "logdet": {"max_error": 4e-14, "items": 6},
            "smallest_abs_diagonal": 0.27,
        },
        "decoding_failures": {},
    }


def vector_metrics(nats: float = 1.1, status: str = "finished") -> dict[str, Any]:
    """Return the metrics.json of a model of the mixture."""
    found = metrics(status=status)
    found["test"] = {
        "nats": scores(nats, 1),
        "true_nats": scores(1.006, 1),
        "excess_over_truth": scores(nats - 1.006, 1),
    }
    found["train"] = {"nats": scores(nats, 1), "true_nats": scores(1.0, 1)}
    found["certificate"]["density"] = {"integral": 0.9999, "error": 1e-6}
    found["entropy"] = 1.0053
    return found


def speed(on_gpu: bool = False, planes: int = 64, batch: int = 256) -> dict[str, Any]:
    """Return a speed.json; both models took the same time."""
    row: dict[str, Any] = {
        "batch": batch,
        "items": 60_000,
        "planes": None,
        "repeats": 20,
        "step_ms": 3.0,
        "optimiser_ms": 0.5,
        "steps_per_epoch": 235,
        "epoch_s": 0.705,
        "density_ms_per_image": 0.02,
        "density_items": 2560,
        "sampling_ms_per_image": 0.04,
        "sample_batch": 100,
    }
    if on_gpu:
        row |= {
            "peak_allocated_mib": 100.0,
            "peak_reserved_mib": 120.4,
            "device_used_mib": 900.0,
        }
    return {
        "dataset": "mnist",
        "device": "An accelerator" if on_gpu else "A processor",
        "on_gpu": on_gpu,
        "threads": 2,
        "lu_net": row,
        "realnvp": {**row, "planes": planes},
        "counts": {
            "lu_net_dense": 4_920_384,
            "lu_net_free": 2_461_760,
            "realnvp_free": 5_388_264,
        },
    }
