"""Reorder features or channels."""

import torch
from torch import Tensor

from common.bijections.base import Bijection


class Permutation(Bijection):
    """Reorder the first dimension of an event, z_i = x_{p(i)}.

    The permutation is a buffer and saved with the model, so a loaded flow is the trained one
    whatever seed it was built with.

    Args:
        permutation: p, a LongTensor (C,) that holds each of 0 ... C - 1 once.
        event_dims: 1 for vectors (D,), 3 for images (C, H, W).

    Shapes: x and z (*batch, C, ...); logdet (*batch,), zero.
    Raises: ValueError for a tensor that is no permutation.
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, permutation: Tensor, event_dims: int = 1) -> None:
        super().__init__()
        size = permutation.numel()
        ordered = torch.arange(size, device=permutation.device)
        if permutation.dim() != 1 or not torch.equal(permutation.sort().values, ordered):
            raise ValueError(
                f"Permutation: expected each of 0 ... {size - 1} once in one dimension, "
                f"got {permutation.tolist()}"
            )
        self.event_dims = event_dims
        self.register_buffer("permutation", permutation.clone())
        self.register_buffer("inverse_permutation", permutation.argsort())

    @classmethod
    def random(cls, size: int, generator: torch.Generator, event_dims: int = 1) -> "Permutation":
        """Return a permutation of `size` features or channels drawn with a CPU generator."""
        return cls(torch.randperm(size, generator=generator), event_dims)

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(-self.event_dims, self.permutation), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z.index_select(-self.event_dims, self.inverse_permutation), self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[: x.dim() - self.event_dims])

    def extra_repr(self) -> str:
        return f"{len(self.permutation)}, event_dims={self.event_dims}"
