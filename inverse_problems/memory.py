"""Measure memory and time of a training step against depth, for each way to find gradients.

python -m inverse_problems.memory --profile fast

Reads the section `memory` of the parameters; writes metrics.json and memory.csv to
results/<profile>/inverse_problems/memory/. All ways take the same step of the same Glow, turn by
turn: the log-density of a batch and its gradient by all weights. Bytes are those that autograd
keeps between the two, each storage once and without weights and buffers; on CUDA, also the peak of
the allocated memory above what lies there before the step. Times are CPU seconds of this process,
which others on the machine do not lengthen much, and on CUDA those of a clock.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass as plain_dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, get_args

import torch
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from common.bijections.reversible import BOUND, Backprop, Reversible
from common.bijections.transformer import SigmoidAffine
from common.errors import UserError, command
from common.flows.backprop import set_backprop
from common.flows.flow import Flow
from common.flows.glow import image_flow
from common.metrics.memory import SavedBytes, cuda_peak
from common.metrics.scores import finite
from common.report.files import csv_text, write_text
from common.training import config
from common.training.device import pick_device
from common.training.provenance import device_name

WAYS: tuple[Backprop, ...] = get_args(Backprop)
VALUES = 256
# What must hold for the claim that memory does not depend on depth.
MOST_GROWTH, MOST_TIME, MOST_DIFFERENCE = 1.1, 2.0, 1e-10


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Memory:
    """Say which steps are measured.

    Args:
        depths: K, flow steps of each level, ascending.
        size: height and width of the images, which have one channel.
        levels: of the flow.
        channels: width of the conditioners.
        blocks: residual blocks of each conditioner.
        batch: images of a step.
        compared: of these, the images for which gradients are compared in both precisions.
        rounds: paired steps of all ways.
        bound: see `Reversible`.
        seed: of weights and images.
    """

    depths: tuple[PositiveInt, ...] = (4, 8, 16, 32, 64)
    size: PositiveInt = 16
    levels: PositiveInt = 2
    channels: PositiveInt = 64
    blocks: PositiveInt = 1
    batch: PositiveInt = 16
    compared: PositiveInt = 2
    rounds: PositiveInt = 5
    bound: PositiveFloat = BOUND
    seed: int = 0


@plain_dataclass
class Steps:
    """Hold one Glow in all ways, and the batch of all steps.

    Args:
        flows: one per way; they share their weights.
        x: values from 0 to 256, (batch, 1, size, size).
    """

    flows: dict[Backprop, Flow]
    x: Tensor

    @classmethod
    def of(cls, cfg: Memory, depth: int, device: torch.device) -> "Steps":
        """Build the Glow with `depth` steps in each level and let its ActNorms start."""
        generator = torch.Generator().manual_seed(cfg.seed)
        flow = image_flow(
            (1, cfg.size, cfg.size),
            levels=cfg.levels,
            steps=depth,
            channels=cfg.channels,
            blocks=cfg.blocks,
            transformer=SigmoidAffine(),
            batch_norm=False,
            mixing="full",
            values=VALUES,
            generator=generator,
        ).to(device)
        x = VALUES * torch.rand(cfg.batch, 1, cfg.size, cfg.size, generator=generator)
        x = x.to(device)
        with torch.no_grad():
            flow.log_prob(x)
        flows = {way: Flow(flow.base, flow.bijection) for way in WAYS}
        return cls({way: set_backprop(flows[way], way, bound=cfg.bound) for way in WAYS}, x)

    def loss(self, way: Backprop) -> Tensor:
        """Return the mean negative log-density in nats."""
        return -self.flows[way].log_prob(self.x).mean()

    def step(self, way: Backprop) -> None:
        """Find the gradients by all weights, in place of those that are there."""
        self.flows[way].zero_grad(set_to_none=True)
        self.loss(way).backward()

    def saved_bytes(self, way: Backprop) -> int:
        """Return what autograd keeps between log-density and gradient."""
        flow = self.flows[way]
        with SavedBytes([*flow.parameters(), *flow.buffers()]) as saved:
            loss = self.loss(way)
        del loss
        return saved.total

    def chain(self, way: Backprop) -> Reversible:
        """Return the chain of a way."""
        chain = self.flows[way].bijection
        assert isinstance(chain, Reversible)
        return chain

    def gradient(self, way: Backprop) -> Tensor:
        """Return the gradient by all weights in one vector."""
        self.step(way)
        parameters = self.flows[way].parameters()
        return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

    def part(self, images: int, dtype: torch.dtype) -> "Steps":
        """Return a copy in another precision with fewer images."""
        flow = copy.deepcopy(self.flows["plain"]).to(dtype)
        flows = {way: Flow(flow.base, flow.bijection) for way in WAYS}
        bound = self.chain("plain").bound
        flows = {way: set_backprop(flows[way], way, bound=bound) for way in WAYS}
        return Steps(flows, self.x[:images].to(dtype))


def differences(steps: Steps) -> dict[Backprop, float]:
    """Return how far gradients lie from plain ones: norm of the difference over the norm."""
    expected = steps.gradient("plain")
    found = {way: steps.gradient(way) for way in WAYS}
    return {way: float((found[way] - expected).norm() / expected.norm()) for way in WAYS}


def measure(cfg: Memory, depth: int, device: torch.device) -> list[dict[str, Any]]:
    """Return a row for each way at one depth."""
    steps = Steps.of(cfg, depth, device)
    for way in WAYS:
        steps.step(way)
        steps.chain(way).reconstruction.reset()
    seconds: dict[Backprop, list[float]] = {way: [] for way in WAYS}
    for i in range(cfg.rounds):
        for way in WAYS if i % 2 == 0 else WAYS[::-1]:
            seconds[way].append(_seconds(steps, way, device))
    close = {
        dtype: differences(steps.part(cfg.compared, getattr(torch, dtype)))
        for dtype in ("float64", "float32")
    }
    rows = []
    for way in WAYS:
        pairs = zip(seconds[way], seconds["plain"], strict=True)
        ratios = [own / plain for own, plain in pairs]
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
        counted = steps.chain(way).reconstruction
        peak = None
        if device.type == "cuda":
            peak = cuda_peak(partial(steps.step, way), device)
        rows.append(
            {
                "depth": depth,
                "backprop": way,
                "saved_bytes": steps.saved_bytes(way),
                "peak_bytes": peak,
                "seconds": _digits(median(seconds[way])),
                "ratio": _digits(middle),
                "ratio_q1": _digits(low),
                "ratio_q3": _digits(high),
                "difference_float64": _digits(close["float64"][way]),
                "difference_float32": _digits(close["float32"][way]),
                "reconstruction_error": _digits(counted.worst) if counted.pieces else None,
                "fallbacks": counted.fallbacks,
            }
        )
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each way how its memory grows, and its worst time and gradients.

    `growth` is bytes at the largest depth over those at the smallest; `r_squared` and
    `bytes_per_step` are those of a straight line through all depths.
    """
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        own = [row for row in rows if row["backprop"] == way]
        depths = torch.tensor([row["depth"] for row in own], dtype=torch.float64)
        sizes = torch.tensor([row["saved_bytes"] for row in own], dtype=torch.float64)
        slope, squared = _line(depths, sizes)
        errors = [e for row in own if (e := row["reconstruction_error"]) is not None]
        found[way] = {
            "growth": _digits(float(sizes[-1] / sizes[0])),
            "bytes_per_step": _digits(slope),
            "r_squared": squared,
            "largest_ratio": max(row["ratio"] for row in own),
            "largest_difference_float64": max(row["difference_float64"] for row in own),
            "largest_difference_float32": max(row["difference_float32"] for row in own),
            "largest_reconstruction_error": max(errors) if errors else None,
            "fallbacks": sum(row["fallbacks"] for row in own),
        }
    return found


def verdicts(found: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Say which of the claims hold."""
    saving = [found["invertible"], found["reuse"]]
    return {
        "plain memory is linear": bool(found["plain"]["r_squared"] > 0.99),
        "reversible memory is constant": all(s["growth"] < MOST_GROWTH for s in saving),
        "reversible time is bounded": all(s["largest_ratio"] <= MOST_TIME for s in saving),
        "gradients agree": all(
            s["largest_difference_float64"] < MOST_DIFFERENCE for s in found.values()
        ),
    }


def write(folder: Path, cfg: Memory, rows: list[dict[str, Any]], device: torch.device) -> None:
    """Write metrics.json and memory.csv."""
    found = summary(rows)
    metrics = {
        "rows": rows,
        "summary": found,
        "verdicts": verdicts(found),
        "images": {"batch": cfg.batch, "size": cfg.size, "channels": cfg.channels},
        "levels": cfg.levels,
        "device": device_name(device),
        "bound": cfg.bound,
    }
    text = json.dumps(finite(metrics), indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_text(folder / "metrics.json", text)
    lines: Iterable[list[str]] = [
        ["" if v is None else f"{v}" for v in row.values()] for row in rows
    ]
    write_text(folder / "memory.csv", csv_text([list(rows[0]), *lines]))


@command
def main() -> None:
    """Measure all depths of a profile."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.memory", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    cfg = config.load(config.section("inverse_problems", args.profile, "memory"), Memory)
    if list(cfg.depths) != sorted(set(cfg.depths)) or len(cfg.depths) < 2:
        raise UserError(f"memory: expected at least two ascending depths, got {cfg.depths}")
    torch.set_num_threads(1)
    device = pick_device(args.device)
    rows: list[dict[str, Any]] = []
    for depth in cfg.depths:
        rows += measure(cfg, depth, device)
        print(f"depth {depth} measured", flush=True)
    write(args.out / args.profile / "inverse_problems" / "memory", cfg, rows, device)


def _seconds(steps: Steps, way: Backprop, device: torch.device) -> float:
    if device.type != "cuda":
        start = time.process_time()
        steps.step(way)
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    steps.step(way)
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return slope and R^2 of a least-squares line; a constant is a perfect line."""
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx * dy).sum() / dx.square().sum())
    spread = float(dy.square().sum())
    return slope, 1.0 if spread == 0 else 1 - float((dy - slope * dx).square().sum()) / spread


def _digits(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else value


if __name__ == "__main__":
    main()
