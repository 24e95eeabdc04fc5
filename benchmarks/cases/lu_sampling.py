"""Sampling from LU-Net: drawing latents, all inverses, undoing the logit."""

import copy
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.limits import Limit, Product
from benchmarks.lu_products import inverse_flops
from benchmarks.published import SPACING, PublishedLUNet
from common.errors import UserError
from common.training import config
from common.training.provenance import ROOT
from common.training.weights import read_weights
from lu_net.config import Train
from lu_net.model import Stack, build_lu_net

TRAINED = Path("results/paper/lu_net/mnist/lu_net/weights.pt")
LEVELS = 256


def comparisons(options: Options) -> list[Builder]:
    """Compare with the published algorithm on the same weights, float32."""
    return [partial(_sampling, options)]


def _sampling(options: Options) -> Comparison:
    n = 5 if options.quick else 100
    stack, cfg, source = trained_or_fresh(options)
    layers = stack.layers()
    published = PublishedLUNet(
        layers,
        slope=cfg.model.slope,
        margin=cfg.model.margin,
        levels=LEVELS,
        spacing=0.05 if options.quick else SPACING,
    ).to(options.device)
    generator = torch.Generator(options.device).manual_seed(0)
    features = layers[0].features
    start = time.perf_counter()
    sampler = stack.frozen()  # once per set of weights, so outside the timed calls
    prepare_ms = 1e3 * (time.perf_counter() - start)
    flops = len(layers) * inverse_flops(n, features)
    return Comparison(
        what=f"sample {n} images",
        ours="lu_net",
        peer="published algorithm",
        run_ours=lambda: sampler.flow.sample(n, generator=generator, models=(1,)),
        run_peer=lambda: published.sample(n, generator),
        limit=Limit([Product((), n, features, features)] * len(layers), options.device, flops),
        packages=("scipy",),
        facts={
            "images": n,
            "features": features,
            "layers": len(layers),
            "weights": source,
            "prepare_ms": round(prepare_ms, 1),
            **agreement(stack, sampler, published, n),
        },
    )


def trained_or_fresh(options: Options) -> tuple[Stack, Train, str]:
    """Return the model of class 0, its configuration, and where its weights are from.

    Raises:
        UserError: the weights that were asked for are missing or of another model.
    """
    cfg = config.load(
        config.section("lu_net", "paper", "train", "mnist", "lu_net", root=ROOT), Train
    )
    path = options.weights
    if path is None and not options.quick and TRAINED.exists():
        path = TRAINED
    shape = (1, 4, 4) if options.quick and path is None else (1, 28, 28)
    stack = build_lu_net(cfg.model, shape, LEVELS, 1)
    assert isinstance(stack, Stack)
    if path is None:
        scatter(stack)
        source = "fresh: identity plus noise, well-conditioned"
    else:
        state, _ = read_weights(path)
        try:
            stack.load_tensors({name: tensor[:1].float() for name, tensor in state.items()})
        except RuntimeError:
            raise UserError(
                f"{path}: expected the weights of lu_net on mnist or fashion-mnist, paper profile; "
                f"got tensors of shape {sorted({tuple(t.shape) for t in state.values()})}"
            ) from None
        # What is written down names no folder of this machine.
        inside = path.resolve().is_relative_to(Path.cwd())
        source = path.resolve().relative_to(Path.cwd()).as_posix() if inside else path.name
    return stack.to(options.device), cfg, source


def scatter(stack: Stack) -> None:
    """Give all entries a value, from a fixed seed; the layers stay well-conditioned."""
    generator = torch.Generator().manual_seed(0)
    layers = stack.layers()
    with torch.no_grad():
        for layer in layers:
            for tensor in (layer.packed, layer.bias):
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.003)
        # As after training, the activations see mostly positive input. Around 0 their inverses
        # would stretch half of the coordinates tenfold each, out of the published spline's reach.
        layers[0].bias.add_(8.0)
        layers[-1].bias.sub_(8.0)


def agreement(stack: Stack, sampler: Stack, published: PublishedLUNet, n: int) -> dict[str, float]:
    """Return the largest differences of n decoded images, in grey levels out of 256.

    The errors of both are those against ours in float64.
    """
    z = torch.randn(n, published.features, generator=torch.Generator().manual_seed(1))
    z = z.to(next(stack.parameters()).device)
    with torch.no_grad():
        ours = sampler.decode(z.unsqueeze(0))[0]
        exact = copy.deepcopy(stack).double().decode(z.double().unsqueeze(0))[0]
        theirs = published.decode(z)
    return {
        "max_pixel_difference": _largest(ours - theirs),
        "ours_pixel_error": _largest(ours - exact),
        "peer_pixel_error": _largest(theirs - exact),
    }


def _largest(difference: torch.Tensor) -> float:
    return float(f"{difference.abs().max().item():.3g}")
