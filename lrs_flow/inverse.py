"""Compare the inverses of the two rational splines: how exact they are, and how long they take.

python -m lrs_flow.inverse --profile fast

Accuracy: round trips of random splines in float32, with logits from mild to extreme. Time: samples
of trained models, which take turns in one process. Writes results/<profile>/lrs_flow/inverse.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.bijections.splines import LinearRational, RationalQuadratic, Spline
from common.bijections.splines.backend import use_backend
from common.errors import UserError, command
from common.flows.bank import Bank
from common.training import atomic, config
from common.training.device import pick_device
from common.training.provenance import provenance
from common.training.seeding import generator
from lrs_flow.config import Train
from lrs_flow.data import load_folds
from lrs_flow.evaluate import restore
from lrs_flow.protocol import Inverse

SPLINES: dict[str, Callable[[int], Spline]] = {"lrs": LinearRational, "rq": RationalQuadratic}
# Bins, and factors of N(0, 1) logits: of widths and heights, and of all others.
SETTINGS = {
    "8 bins": (8, 1.0, 1.0),
    "64 bins": (64, 1.0, 1.0),
    "8 bins, sizes x 3": (8, 3.0, 1.0),
    "8 bins, sizes x 3, rest x 5": (8, 3.0, 5.0),
    "8 bins, all x 10": (8, 10.0, 10.0),
}
ACCURACY, LATENTS = range(2)


@command
def main() -> None:
    """Measure both."""
    arguments = argparse.ArgumentParser(prog="python -m lrs_flow.inverse", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    cfg = config.load(config.section("lrs_flow", args.profile, "inverse"), Inverse)
    if len(cfg.methods) < 2:
        raise UserError(
            "lrs_flow.inverse: methods must name at least two, the first against others"
        )
    device = pick_device(args.device)
    root = args.out / args.profile / "lrs_flow"
    sections = config.section("lrs_flow", args.profile, "train", cfg.dataset)
    banks = {}
    for method in cfg.methods:
        trained = config.load(sections.at(method), Train)
        folds = load_folds(cfg.dataset, args.raw, trained.models, trained.seed)
        banks[method] = restore(root / cfg.dataset / method, trained, folds, device)
    with use_backend("auto"):
        found = {
            "accuracy": accuracy(cfg),
            "time": [timed(cfg, banks, cfg.methods[0], peer, device) for peer in cfg.methods[1:]],
            **provenance(device),
        }
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=2, sort_keys=True, allow_nan=False) + "\n"
    atomic.write_bytes(root / "inverse.json", text.encode())


def accuracy(cfg: Inverse) -> list[dict[str, Any]]:
    """Return the float32 round-trip errors |x' - x| of each spline in each setting, B = 3.

    Both splines get the same x, and the same logits where they share them.
    """
    rows = []
    for number, (setting, (bins, sizes, rest)) in enumerate(SETTINGS.items()):
        for name, make in SPLINES.items():
            spline = make(bins)
            random = generator(cfg.seed, ACCURACY, number)
            x = 6 * torch.rand(cfg.elements, generator=random) - 3
            logits = torch.randn(cfg.elements, 4 * bins - 1, generator=random)
            logits[:, : 2 * bins] *= sizes
            logits[:, 2 * bins :] *= rest
            raw = (
                logits
                if name == "lrs"
                else torch.cat((logits[:, : 2 * bins], logits[:, 3 * bins :]), 1)
            )
            rows.append({"setting": setting, "spline": name, **round_trip_errors(spline, x, raw)})
    return rows


@torch.no_grad()
def round_trip_errors(spline: Spline, x: Tensor, raw: Tensor) -> dict[str, Any]:
    """Return mean, 99.9 % quantile and maximum, the floor of the mean, and how many values failed.

    y is rounded to float32 before it is mapped back, by a quarter of the spacing of floats at y in
    the mean; over the slope there, in float64, this is an error in x that no inverse can undo. The
    mean of it is the floor: what the map costs, whatever the algorithm.
    """
    y = spline.forward(x, raw)[0]
    back = spline.inverse(y, raw)[0]
    error = (back - x).abs().double()
    finite = error[error.isfinite()].numpy()
    spacing = torch.nextafter(y.abs(), torch.tensor(torch.inf)) - y.abs()
    exact = spline.forward(x.double(), raw.double())[1]
    floor = spacing.double() / 4 * torch.exp(-exact)
    return {
        "mean": float(finite.mean()),
        "p999": float(np.quantile(finite, 0.999)),
        "max": float(finite.max()),
        "floor": float(floor.mean()),
        "not_finite": int((~back.isfinite()).sum()),
        "outside": int((back.abs() > spline.bound).sum()),
    }


def timed(
    cfg: Inverse, banks: dict[str, Bank], ours: str, peer: str, device: torch.device
) -> dict[str, Any]:
    """Return medians of the time to draw samples, and quartiles of the ratio round by round."""
    times: dict[str, list[float]] = {ours: [], peer: []}
    for number in range(cfg.rounds + 1):
        for method in (ours, peer) if number % 2 else (peer, ours):
            random = generator(cfg.seed, LATENTS, number, device=device)
            synchronise(device)
            start = time.perf_counter()
            banks[method].sample(cfg.samples // banks[method].models, random)
            synchronise(device)
            if number:  # the first round only warms up
                times[method].append(time.perf_counter() - start)
    ratios = np.array(times[peer]) / np.array(times[ours])
    q1, ratio, q3 = (float(q) for q in np.quantile(ratios, [0.25, 0.5, 0.75]))
    return {
        "dataset": cfg.dataset,
        "method": ours,
        "peer": peer,
        "ms": 1e3 * statistics.median(times[ours]),
        "peer_ms": 1e3 * statistics.median(times[peer]),
        "ratio": ratio,
        "ratio_q1": q1,
        "ratio_q3": q3,
        "samples": cfg.samples,
    }


def synchronise(device: torch.device) -> None:
    """Wait for the device's queue, where it has one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
