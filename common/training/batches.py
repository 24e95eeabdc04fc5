"""Cut the data sets of K equal models into batches that are a function of seed and step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.training.seeding import permutation


class EpochBatches:
    """Give each of K models its own shuffled pass over its own data, in step with the others.

    An epoch has ceil(max(n_k) / batch) steps; at each of them model k gets a nearly equal share
    of its n_k items, at most `batch`. Every item is visited exactly once per epoch.

    Args:
        sizes: n_k, the number of items of each model; (n,) for a single model.
        batch: the most items of one model in one step.
        seed: the order is a function of seed and step.
        device: where the indices are wanted.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not sizes or min(sizes) < 1 or batch < 1:
            raise ValueError(f"sizes and batch must be positive, got {list(sizes)} and {batch}")
        self.sizes = tuple(sizes)
        self.seed = seed
        self.device = torch.device(device)
        self.steps_per_epoch = -(-max(sizes) // batch)
        self.width = -(-max(sizes) // self.steps_per_epoch)
        # Item positions of step s are [s n_k / S, (s + 1) n_k / S), rounded down.
        n = torch.tensor(self.sizes)
        edges = torch.arange(self.steps_per_epoch + 1)[:, None] * n // self.steps_per_epoch
        positions = edges[:-1, :, None] + torch.arange(self.width)
        self._valid = positions < edges[1:, :, None]
        # Padding repeats an item of the same model, so that it is always good input.
        self._positions = positions.minimum(n[:, None] - 1)
        self._weights = self._valid.to(self.device, torch.get_default_dtype())
        self._epoch = -1
        self._indices = torch.empty(0)

    def epoch(self, step: int) -> int:
        """Return the epoch that `step` belongs to, from 0."""
        return step // self.steps_per_epoch

    def indices(self, step: int) -> tuple[Tensor, Tensor]:
        """Return item indices (K, B), int64, and weights (K, B), 1 for items and 0 for padding.

        A model with fewer items than the epoch has steps gets no item at some steps: divide by
        the sum of its weights only after clamping that to 1.
        """
        epoch, step = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            rows = [
                permutation(n, self.seed, epoch, k)[self._positions[:, k]]
                for k, n in enumerate(self.sizes)
            ]
            self._indices = torch.stack(rows, dim=1).to(self.device)
            self._epoch = epoch
        return self._indices[step], self._weights[step]
