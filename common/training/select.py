"""Keep the state that was best on validation data, for each of many models trained as one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Best:
    """Hold for each model the tensors of its best step so far; a lower score is better.

    Nothing here waits for the device. Until a first finite score the initial tensors are held,
    with score inf and step -1.

    Args:
        params: named tensors, copied; with `models` each has a leading dimension K.
        models: K, or None for one model without a leading dimension.
    """

    def __init__(self, params: Mapping[str, Tensor], models: int | None = None) -> None:
        for name, tensor in params.items():
            if models is not None and (tensor.ndim == 0 or len(tensor) != models):
                raise ValueError(
                    f"'{name}' must have {models} models as its leading dimension, "
                    f"got shape {tuple(tensor.shape)}"
                )
        self.models = models
        self.state = {name: tensor.detach().clone() for name, tensor in params.items()}
        device = next(iter(self.state.values())).device
        shape = () if models is None else (models,)
        self.score = torch.full(shape, torch.inf, dtype=torch.float64, device=device)
        self.step = torch.full(shape, -1, dtype=torch.int64, device=device)

    def update(self, scores: Tensor, tensors: Mapping[str, Tensor], step: int) -> Tensor:
        """Take over the models that improved, and return which did: bool, (K,) or ().

        Args:
            scores: validation scores (K,), or () for one model; NaN never is an improvement.
            tensors: the current tensors, by the names given at construction.
            step: the step they belong to.
        """
        if scores.shape != self.score.shape:
            raise ValueError(
                f"expected scores of shape {tuple(self.score.shape)}, got {tuple(scores.shape)}"
            )
        if tensors.keys() != self.state.keys():
            raise ValueError(f"names differ: {sorted(tensors.keys() ^ self.state.keys())}")
        scores = scores.detach().to(self.score)
        better = scores < self.score
        self.score = torch.where(better, scores, self.score)
        self.step = self.step.masked_fill(better, step)
        for name, held in self.state.items():
            mask = better if self.models is None else better.view(-1, *[1] * (held.ndim - 1))
            held.copy_(torch.where(mask, tensors[name].detach(), held))
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"state": self.state, "score": self.score, "step": self.step}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        if saved["state"].keys() != self.state.keys():
            raise ValueError(f"names differ: {sorted(saved['state'].keys() ^ self.state.keys())}")
        for name, held in self.state.items():
            held.copy_(saved["state"][name])
        self.score = saved["score"].to(self.score)
        self.step = saved["step"].to(self.step)
