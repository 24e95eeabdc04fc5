"""A training step of Glow at several depths: back-propagation by inverses against plain."""

from functools import partial

import torch

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.limits import Limit, Product
from common.bijections.reversible import Backprop
from common.metrics.memory import cuda_peak
from inverse_problems.memory import MOST_TIME, Memory, Steps, differences

DEPTHS = (4, 8, 16, 32, 64)
PEERS: tuple[Backprop, ...] = ("plain", "checkpoint")


def comparisons(options: Options) -> list[Builder]:
    """Compare inverses with reuse, ours, with plain and checkpointed passes; float32."""
    depths = (2, 3) if options.quick else DEPTHS
    return [partial(_step, options, depth, peer) for depth in depths for peer in PEERS]


def _step(options: Options, depth: int, peer: Backprop) -> Comparison:
    sizes = {"size": 8, "channels": 8, "batch": 2} if options.quick else {}
    cfg = Memory(**sizes)
    steps = Steps.of(cfg, depth, options.device)
    difference = differences(steps.part(cfg.compared, torch.float64))["reuse"]
    steps.step("reuse")
    facts: dict[str, object] = {
        "depth": depth,
        "batch": cfg.batch,
        "saved_bytes": steps.saved_bytes("reuse"),
        "peer_saved_bytes": steps.saved_bytes(peer),
        "gradient_difference": float(f"{difference:.3g}"),
        "reconstruction_error": float(f"{steps.chain('reuse').reconstruction.worst:.3g}"),
    }
    if peer == "plain":
        facts["goal_ratio"] = 1 / MOST_TIME
    if options.device.type == "cuda":
        for name, way in (("peak_bytes", "reuse"), ("peer_peak_bytes", peer)):
            steps.step(way)
            facts[name] = cuda_peak(partial(steps.step, way), options.device)
    return Comparison(
        what=f"training step, {depth} steps per level",
        ours="inverses, conditioners reused",
        peer=peer,
        run_ours=partial(steps.step, "reuse"),
        run_peer=partial(steps.step, peer),
        limit=Limit(_products(cfg, depth), options.device),
        facts=facts,
    )


def _products(cfg: Memory, depth: int) -> list[Product]:
    """Return the products of all conditioners: two evaluations and the two gradients."""
    products = []
    side, channels = cfg.size, 1
    for _ in range(cfg.levels):
        side, channels = side // 2, 4 * channels
        pixels, wide = cfg.batch * side**2, cfg.channels
        # A convolution is the product of its weights with all patches.
        inner = [(wide, 9 * wide)] * (2 * cfg.blocks)
        for n, m in [(wide, channels // 2), *inner, (channels, wide)] * depth:
            products += [Product((), n, m, pixels)] * 2
            products += [Product((), m, n, pixels, "tn"), Product((), n, pixels, m, "nt")]
        channels //= 2
    return products
