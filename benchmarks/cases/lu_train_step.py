"""A whole training step of LU-Net, from pixel values to moved parameters."""

from functools import partial

import torch

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.limits import Limit, copy_bytes_per_second
from benchmarks.lu_products import training_products
from benchmarks.published import PublishedLUNet, training_step
from common.bijections.lu import LULinear
from common.training import config
from common.training.provenance import ROOT
from lu_net.batches import TRAIN_NOISE, Items, noise
from lu_net.config import Train
from lu_net.model import Stack, build_lu_net
from lu_net.train import backward, make_optimiser

LEVELS = 256


def comparisons(options: Options) -> list[Builder]:
    """Compare the ten class models as one batched model, and a single one, float32."""
    return [partial(_step, options, models) for models in (10, 1)]


def _step(options: Options, models: int) -> Comparison:
    device = options.device
    rows, shape = (6, (1, 4, 4)) if options.quick else (225, (1, 28, 28))
    cfg = config.load(
        config.section("lu_net", "paper", "train", "mnist", "lu_net", root=ROOT), Train
    )
    stack = build_lu_net(cfg.model, shape, LEVELS, models).to(device)
    assert isinstance(stack, Stack)
    layers = stack.layers()
    features = layers[0].features
    pixels = torch.randint(
        LEVELS, (models, rows, *shape), generator=torch.Generator().manual_seed(0)
    )
    pixels = pixels.to(device, torch.uint8)
    peers = [_published(layers, k, cfg.model.slope, cfg.model.margin) for k in range(models)]
    ours_optimiser = make_optimiser(stack, cfg.optimiser)
    items = Items(pixels, torch.ones(models, rows, device=device), (rows,) * models, LEVELS)
    index = torch.arange(rows, device=device).expand(models, -1)

    def ours() -> None:
        x = items.take(index, torch.float32, noise(device, 0, TRAIN_NOISE, 0))
        ours_optimiser.zero_grad(set_to_none=True)
        backward(stack, x, items.weights, cfg)
        ours_optimiser.step()

    def published() -> None:
        for k, (model, optimiser) in enumerate(peers):
            training_step(model, optimiser, pixels[k].flatten(1).float())

    products = training_products((models,), rows, features, device) * (len(layers) - 1)
    products += training_products((models,), rows, features, device, to_input=False)
    optimiser_bytes = 7 * sum(p.numel() * p.element_size() for p in stack.parameters())
    rate = copy_bytes_per_second(device, 2**20 if options.quick else 2**28)
    return Comparison(
        what=f"training step, {models} model{'s' if models > 1 else ''}",
        ours="lu_net, one batched model" if models > 1 else "lu_net",
        peer="published algorithm" + (", one model after the other" if models > 1 else ""),
        run_ours=ours,
        run_peer=published,
        limit=Limit(products, device),
        facts={
            "models": models,
            "images": models * rows,
            "features": features,
            "layers": len(layers),
            # Adam reads four and writes three numbers per parameter.
            "optimiser_copy_ms": float(f"{1e3 * optimiser_bytes / rate:.4g}"),
        },
    )


def _published(
    layers: list[LULinear], k: int, slope: float, margin: float
) -> tuple[PublishedLUNet, torch.optim.Optimizer]:
    model = PublishedLUNet(layers, k, slope, margin, LEVELS)
    return model, torch.optim.SGD(model.parameters(), lr=0.6, momentum=0.9)
