"""Time one model of each kind and count its weights, for the comparison's cost cells.

python -m lu_net.speed --profile fast

Writes results/<profile>/lu_net/speed.json. Every time is the median of whole calls that end with
the device idle. A pass over the data set is not run but computed from the time of its steps.
"""

import argparse
import dataclasses
import gc
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from common import datasets
from common.datasets.dataset import Dataset
from common.errors import UserError, command
from common.training import atomic, config
from common.training.device import pick_device
from common.training.provenance import device_name, parameter_count
from lu_net.batches import Items, noise
from lu_net.config import Model, Train
from lu_net.model import Stack, builder
from lu_net.protocol import Speed, Timed
from lu_net.train import backward, make_optimiser

# The published counts are of this image size; counting needs no data.
PUBLISHED_SHAPE = (1, 28, 28)


@command
def main() -> None:
    """Measure both models."""
    arguments = argparse.ArgumentParser(prog="python -m lu_net.speed", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    device = pick_device(args.device)
    cfg = config.load(config.section("lu_net", args.profile, "speed"), Speed)
    data = datasets.load(cfg.dataset, args.raw, 0)
    measured: dict[str, Any] = {
        "dataset": cfg.dataset,
        "device": device_name(device),
        "on_gpu": device.type == "cuda",
        "threads": torch.get_num_threads(),
    }
    for row, timed in cfg.models.items():
        section = config.section("lu_net", args.profile, "train", cfg.dataset, timed.method)
        measured[row] = measure(config.load(section, Train), timed, data, device)
    measured["counts"] = counts()
    out = args.out / args.profile / "lu_net"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be created ({error.strerror})") from None
    text = json.dumps(measured, indent=2, sort_keys=True) + "\n"
    atomic.write_bytes(out / "speed.json", text.encode())


def measure(trained: Train, timed: Timed, data: Dataset, device: torch.device) -> dict[str, Any]:
    """Return times in milliseconds and, on a GPU, peak memory, of one model in float32."""
    forget_memory(device)
    model = dataclasses.replace(trained.model, planes=timed.planes or trained.model.planes)
    bank = builder(model)(model, data.shape, data.levels, 1).to(device)
    items = Items.of(data, data.train, False, device)
    (size,) = items.sizes
    # A rate of 0 costs the same and leaves the weights in place, whatever the parameters say.
    optimiser = make_optimiser(bank, dataclasses.replace(trained.optimiser, lr=0.0))

    def take(n: int, batch: int) -> torch.Tensor:
        index = (torch.arange(n, device=device) + batch * n) % size
        return items.take(index[None], torch.float32, noise(device, 0, batch))

    ones = torch.ones((1, trained.batch), device=device)
    in_optimiser: list[float] = []

    def step(i: int) -> None:
        bank.train()
        optimiser.zero_grad(set_to_none=True)
        backward(bank, take(trained.batch, i), ones, trained)
        synchronise(device)
        start = time.perf_counter()
        optimiser.step()
        synchronise(device)
        in_optimiser.append(1e3 * (time.perf_counter() - start))

    @torch.no_grad()
    def score(i: int) -> None:
        bank.eval()
        for first in range(0, timed.density_items, trained.batch):
            n = min(trained.batch, timed.density_items - first)
            bank.log_prob(take(n, i + first // trained.batch))

    generator = noise(device, 1)
    shape = (1, timed.sample_batch, *data.shape)

    @torch.no_grad()
    def sample(i: int) -> None:
        bank.eval()
        bank.decode(torch.randn(shape, generator=generator, device=device))

    step_ms = milliseconds(step, timed.repeats, device)
    memory = peak_memory(device)
    steps = math.ceil(size / trained.batch)
    density_ms = milliseconds(score, max(2, timed.repeats // 5), device)
    sampling_ms = milliseconds(sample, timed.repeats, device)
    return {
        "batch": trained.batch,
        "items": size,
        "planes": model.planes if model.kind == "realnvp" else None,
        "repeats": timed.repeats,
        "step_ms": step_ms,
        "optimiser_ms": median(in_optimiser[1:]),
        "steps_per_epoch": steps,
        "epoch_s": 1e-3 * step_ms * steps,
        "density_ms_per_image": density_ms / timed.density_items,
        "density_items": timed.density_items,
        "sampling_ms_per_image": sampling_ms / timed.sample_batch,
        "sample_batch": timed.sample_batch,
        **memory,
    }


def counts() -> dict[str, int]:
    """Return weights of the published models: free ones, and LU-Net's as the paper stores them."""
    lu_net, realnvp = (
        builder(model)(model, PUBLISHED_SHAPE, 256, 1)
        for model in (Model(kind="lu_net"), Model(kind="realnvp"))
    )
    assert isinstance(lu_net, Stack)
    # Both factors as full matrices, structural zeros and ones included, and the bias.
    dense = sum(2 * layer.features**2 + layer.features for layer in lu_net.layers())
    return {
        "lu_net_free": parameter_count(lu_net),
        "lu_net_dense": dense,
        "realnvp_free": parameter_count(realnvp),
    }


def milliseconds(call: Callable[[int], None], repeats: int, device: torch.device) -> float:
    """Return the median time of `repeats` calls after one that is not counted."""
    times = []
    for i in range(repeats + 1):
        synchronise(device)
        start = time.perf_counter()
        call(i)
        synchronise(device)
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[1:])


def synchronise(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_memory(device: torch.device) -> None:
    """Give back what earlier models took, so that peaks are the next model's own."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return MiB of the training so far: peaks of what was allocated and reserved, and a total.

    The total is what the whole device has in use, as a system tool shows it, other processes
    included.
    """
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "peak_allocated_mib": torch.cuda.max_memory_allocated(device) / 2**20,
        "peak_reserved_mib": torch.cuda.max_memory_reserved(device) / 2**20,
        "device_used_mib": (total - free) / 2**20,
    }


if __name__ == "__main__":
    main()
