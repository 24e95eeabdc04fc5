"""What the monotone cases share: our training step, and the published one from the same weights.

Steps move the weights, and the cost of solving follows them. So each call puts the weights back,
singular vectors included, and takes the same step of a training again: points, loss, backward,
Adam, power iteration. Putting back is part of the call, on both sides.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import Comparison, Options
from benchmarks.limits import Limit, Product
from benchmarks.published_monotone import PublishedDensity, PublishedFit, Weights
from common.errors import UserError
from common.training import config
from common.training.provenance import ROOT, parameter_count
from common.training.seeding import generator
from common.training.weights import read_weights
from monotone_flow.blocks import ROOT2
from monotone_flow.chain import OperatorChain
from monotone_flow.config import Train
from monotone_flow.fused import fused
from monotone_flow.nets import LipschitzNets
from monotone_flow.roots import solve
from monotone_flow.train import TRAIN_POINTS
from monotone_flow.vectors import build, chain_of, kernel_sizes, make_task

Published = PublishedFit | PublishedDensity
# Of a model, its optimiser, points and targets (B, D): the loss.
PublishedStep = Callable[[Any, torch.optim.Optimizer, Tensor, Tensor], Tensor]


def sources(dataset: str, options: Options) -> list[Path | None]:
    """Return where each row's weights come from: fresh ones (None), and trained where they are."""
    if options.weights is not None:
        return [None, options.weights]
    trained = Path(f"results/paper/monotone_flow/{dataset}/monotone/weights.pt")
    return [None, trained] if trained.exists() and not options.quick else [None]


def configuration(dataset: str, path: Path | None, options: Options) -> Train:
    """Return the training of the paper profile, one model of each set; tiny if quick."""
    section = config.section("monotone_flow", "paper", "train", dataset, "monotone", root=ROOT)
    cfg = replace(config.load(section, Train), seeds=1)
    if options.quick:
        cfg = replace(cfg, batch=16, sets=cfg.sets[:2], compiled=False)
        if path is None:  # trained weights fit one size only
            cfg = replace(cfg, model=replace(cfg.model, growth=8, repeat=1))
    return cfg


class OurStep:
    """Take one step of `monotone_flow.train` at each call; return the losses (K,) before it.

    Args:
        dataset: `staircase` or `toys`.
        cfg: of the training.
        path: its weights at the end, and then it is the last step; None for the first step.
        device: where.

    Raises:
        UserError: the weights are missing or of another model.
    """

    def __init__(self, dataset: str, cfg: Train, path: Path | None, device: torch.device) -> None:
        self.cfg, self.device = cfg, device
        self.dtype: torch.dtype = getattr(torch, cfg.dtype)
        self.step = 0 if path is None else cfg.steps - 1
        self.task = make_task(dataset, cfg)
        self.stack = build(cfg.model, 1 if dataset == "staircase" else 2, cfg.models, cfg.seed)
        if path is not None:
            state, _ = read_weights(path)
            try:
                self.stack.load_tensors({name: t[: cfg.models] for name, t in state.items()})
            except RuntimeError:
                raise UserError(
                    f"{path}: expected the weights of {dataset}, monotone, paper profile; got "
                    f"tensors of shape {sorted({tuple(t.shape) for t in state.values()})}"
                ) from None
        self.stack.to(device, self.dtype).train()
        with torch.no_grad():
            self.task.losses(self.stack, *self.points())  # starts new scales
        self.optimiser = torch.optim.Adam(
            self.stack.parameters(),
            lr=cfg.rate(self.step),
            weight_decay=cfg.optimiser.weight_decay,
            fused=True,
        )
        self._put_back = restorer(self.stack.state_dict().values())

    @property
    def chain(self) -> OperatorChain:
        """Return the batched chain."""
        return chain_of(self.stack)

    @property
    def learns_shares(self) -> bool:
        """Say whether the step moves the parameters of concatenations."""
        return self.step >= self.cfg.learn_shares_from

    def points(self) -> tuple[Tensor, Tensor]:
        """Draw the step's points and targets, (K, B, D) each."""
        noise = generator(self.cfg.seed, TRAIN_POINTS, self.step, device=self.device)
        return self.task.batch(self.cfg.batch, noise, self.dtype)

    def __call__(self) -> Tensor:
        self._put_back()
        nets = self.chain.nets
        with fused(kernel_sizes(self.cfg)):
            x, y = self.points()
            self.optimiser.zero_grad(set_to_none=True)
            losses = self.task.losses(self.stack, x, y).mean(-1)
            losses.sum().backward()
            self.optimiser.step()
            if not self.learns_shares:
                nets.reset_shares()
            nets.power_iterate(self.cfg.norms.iterations, tol=self.cfg.norms.tol)
        return losses.detach()

    @torch.no_grad()
    def evaluations(self) -> float:
        """Return the passes through g that solving takes, mean over blocks and samples."""
        self._put_back()
        x, _ = self.points()
        h, counts = x.mT, []
        nets, scales = iter(self.chain.nets.nets()), iter(self.chain.scales)
        for part in self.chain.layout:
            if part == "actnorm":
                h, _ = next(scales)(h)
            else:
                w, _, count = solve(next(nets), ROOT2 * h, tangents=h.shape[1] > 1)
                h = ROOT2 * w - h
                counts.append(count)
        return sum(counts) / len(counts)


class TheirStep:
    """Take the same step by the published algorithm, one model after the other.

    Args:
        ours: whose points, rate and decay are used; the models hold its weights.
        models: one for each of ours.
        step: of one of them.
    """

    def __init__(self, ours: OurStep, models: Sequence[Published], step: PublishedStep) -> None:
        self.models = models
        self._points, self._step = ours.points, step
        rate, decay = ours.cfg.rate(ours.step), ours.cfg.optimiser.weight_decay
        self._optimisers = [
            torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay, fused=True)
            for model in models
        ]
        states = [tensor for model in models for tensor in model.state_dict().values()]
        self._put_back = restorer(states)

    def __call__(self) -> Tensor:
        self._put_back()
        each = zip(self.models, self._optimisers, *self._points(), strict=True)
        return torch.stack([self._step(*parts) for parts in each])

    def evaluations(self, direction: str) -> float:
        """Return calls of g ("forward") or of its transpose ("backward") so far, per block."""
        calls = sum(model.solver_calls()[direction] for model in self.models)
        return calls / sum(len(model.blocks) for model in self.models)


def restorer(tensors: Iterable[Tensor]) -> Callable[[], None]:
    """Return what puts tensors back to the values that they have now."""
    own = [tensor.detach() for tensor in tensors]
    saved = [tensor.clone() for tensor in own]

    def put_back() -> None:
        torch._foreach_copy_(own, saved)

    return put_back


def published_nets(nets: LipschitzNets, k: int) -> list[Weights]:
    """Return the nets of model k as the published ones take them, singular vectors included."""
    found: list[Weights] = []
    for n in range(nets.biases[0].shape[1]):
        weights = {"concat": nets.shares[k, n]}
        for i, (weight, bias) in enumerate(zip(nets.weights, nets.biases, strict=True)):
            weights |= {f"weight{i}": weight[k, n], f"bias{i}": bias[k, n]}
            weights |= {f"left{i}": getattr(nets, f"u{i}")[k, n]}
            weights |= {f"right{i}": getattr(nets, f"v{i}")[k, n]}
        found.append(weights)
    return found


def comparison(
    ours: OurStep, theirs: TheirStep, path: Path | None, options: Options, goal_ms: float
) -> Comparison:
    """Return the row of both steps; all its times are per model."""
    difference = (ours() - theirs()).abs().max().item()
    evaluations = ours.evaluations()
    cfg, models = ours.cfg, ours.cfg.models
    source = "fresh"
    if path is not None:  # what is written down names no folder of this machine
        source = path.name if options.weights else path.as_posix()
    return Comparison(
        what=f"training step, {'fresh' if path is None else 'trained'} weights",
        ours="monotone_flow" + (", one batched model" if models > 1 else ""),
        peer="published algorithm" + (", one model after the other" if models > 1 else ""),
        run_ours=ours,
        run_peer=theirs,
        limit=_limit(ours.chain.nets, cfg.batch, round(evaluations), options.device),
        pieces=models,
        facts={
            "models": models,
            "batch": cfg.batch,
            "parameters": parameter_count(ours.stack) // models,
            "peer_parameters": parameter_count(theirs.models[0]),
            "weights": source,
            "loss_difference": _digits(difference),
            "evaluations": _digits(evaluations),
            "peer_evaluations": _digits(theirs.evaluations("forward")),
            "peer_backward_evaluations": _digits(theirs.evaluations("backward")),
            "goal_ms": goal_ms,
        },
    )


def _limit(nets: LipschitzNets, rows: int, evaluations: int, device: torch.device) -> Limit:
    """Return the products of all nets: solving, sweeps back, gradients of the weights."""
    models, count = nets.biases[0].shape[:2]
    # In the plane two tangents go with each sample, and a second sweep back takes values alone.
    sweeps = [3 * rows, rows] if nets.features > 1 else [rows]
    width = sweeps[0]
    products = []
    for weight in nets.weights:
        out, inputs = weight.shape[-2:]
        products += [Product((models,), out, inputs, width)] * evaluations
        products += [Product((models,), inputs, out, columns, "tn") for columns in sweeps]
        products.append(Product((models,), out, width, inputs, "nt"))
    return Limit(products, device, repeat=count)


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
