"""The two trainings of vectors: a staircase fitted in 1-D, and densities of the plane."""

from typing import Protocol, cast

import torch
from torch import Tensor

from common.flows.bank import Stack
from common.flows.flow import Flow, StandardNormal
from monotone_flow import staircase
from monotone_flow.chain import OperatorChain
from monotone_flow.config import Model, Train
from monotone_flow.nets import LipschitzNets
from monotone_flow.roots import HARD
from monotone_flow.toys import TOYS

CHUNK = 2500  # points of each model that a look evaluates at once


class Task(Protocol):
    """What is trained on what."""

    unit: str

    def batch(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return n fresh inputs and targets of each model, (K, n, D)."""
        ...

    def losses(self, stack: Stack, x: Tensor, y: Tensor) -> Tensor:
        """Return the losses (K, n)."""
        ...


class Fit:
    """Fit the staircase: squared errors of z = F(x). All models see the same kind of points."""

    unit = "mse"

    def __init__(self, models: int) -> None:
        self.models = models

    def batch(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        x, y = staircase.batch(self.models * n, generator, dtype=dtype)
        return x.view(self.models, n, 1), y.view(self.models, n, 1)

    def losses(self, stack: Stack, x: Tensor, y: Tensor) -> Tensor:
        z, _ = chain_of(stack).transform(x, logdet=False)
        return (z - y).square().squeeze(-1)


class Density:
    """Fit densities of the plane: negative log-likelihoods in nats."""

    unit = "nats"

    def __init__(self, sets: tuple[str, ...], seeds: int) -> None:
        self.toys = [TOYS[name] for name in sets for _ in range(seeds)]

    def batch(
        self, n: int, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        x = torch.stack([toy.sample(n, generator, dtype=dtype) for toy in self.toys])
        return x, x

    def losses(self, stack: Stack, x: Tensor, y: Tensor) -> Tensor:
        return -stack.log_prob(x)


def make_task(dataset: str, cfg: Train) -> Task:
    """Return the task of `staircase` or `toys`."""
    return Fit(cfg.seeds) if dataset == "staircase" else Density(cfg.sets, cfg.seeds)


def build(model: Model, features: int, models: int, seed: int) -> Stack:
    """Return K untrained models as one batched flow; weights are a function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    nets = LipschitzNets(
        features,
        model.depth,
        model.growth,
        model.activation,
        coefficient=model.coefficient,
        concatenation=model.concatenation,
        models=models,
        nets=sum(part != "actnorm" for part in model.parts),
        generator=generator,
    )
    flow = Flow(StandardNormal((features,)), OperatorChain(model.parts, nets))
    return Stack(flow, models)


def chain_of(stack: Stack) -> OperatorChain:
    """Return the batched chain."""
    return cast(OperatorChain, stack.flow.bijection)


def kernel_sizes(cfg: Train) -> set[int]:
    """Return the batch sizes to compile kernels for."""
    return {cfg.batch, *HARD} if cfg.compiled else set()


@torch.no_grad()
def look(
    task: Task, stack: Stack, n: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Return the mean losses (K,) over n fresh points of each model, float64."""
    x, y = task.batch(n, generator, dtype)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for part, target in zip(x.split(CHUNK, 1), y.split(CHUNK, 1), strict=True):
        total += task.losses(stack, part, target).double().sum(-1)
    return total / n
