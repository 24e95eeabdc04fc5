"""Small data sets and models for tests of what trains and what follows."""

import torch
from torch import Tensor

from common.bijections.registry import randomise
from common.datasets.dataset import Dataset, Split
from common.flows.bank import Bank
from lrs_flow.config import Model
from lrs_flow.model import build

LEVELS, IMAGE = 17, (1, 4, 4)
# As small as each kind gets, with all that a training may meet: dropout and batch norm.
COUPLING = Model("lrs", steps=2, hidden=8, bins=3, dropout=0.2, batch_norm=True)
IMAGES = Model("lrs", steps=1, levels=1, hidden=4, bins=3, dropout=0.2, batch_norm=True)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(sizes: tuple[int, int, int] = (30, 9, 7), features: int = 3, seed: int = 0) -> Dataset:
    """Return normal draws as train, validation and test items."""
    parts = normal(sum(sizes), features, seed=seed).split(sizes)
    splits = [Split(part, torch.zeros(len(part), dtype=torch.int64)) for part in parts]
    return Dataset("invented", *splits, levels=None, classes=1)


def images(sizes: tuple[int, int, int] = (30, 9, 7)) -> Dataset:
    """Return random pixels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, LEVELS, (sum(sizes), *IMAGE), generator=generator, dtype=torch.uint8)
    splits = [Split(part, torch.zeros(len(part), dtype=torch.int64)) for part in x.split(sizes)]
    return Dataset("invented", *splits, levels=LEVELS, classes=1)


def model(cfg: Model, data: Dataset, models: int) -> Bank:
    """Return a trained model's stand-in: well conditioned, and no two models alike."""
    bank = build(cfg, data.shape, data.levels, models, 0)
    for k, flow in enumerate(bank.each):
        randomise(flow.bijection, k)
    bank.double().eval()
    return bank
