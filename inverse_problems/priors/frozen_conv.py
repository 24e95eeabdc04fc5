"""An invertible 1x1 convolution that does not invert its matrix anew while that stays the same."""

from typing import cast

import torch
from torch import Tensor

from common.bijections.conv1x1 import FullConv1x1, mix


class FrozenConv1x1(FullConv1x1):
    """Keep the inverse matrix, computed in float64, for as long as the weight is frozen.

    Recovery differentiates with respect to latents hundreds of times. An inverse is thrown away
    once the weight is written to, moved, cast or learns again.
    """

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(channels, generator)
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(z), -self._logdet(z)

    def inverse(self, z: Tensor) -> Tensor:
        return mix(z, self._inverse())

    def _inverse(self) -> Tensor:
        weight = self.weight
        if weight.requires_grad:  # even without gradients: a fused optimiser leaves no trace
            self._kept = None
            return cast(Tensor, torch.linalg.inv(weight))
        state = (weight._version, weight.data_ptr(), weight.dtype, weight.device)
        if self._kept is None or self._kept[0] != state:
            with torch.no_grad():
                inverse = torch.linalg.inv(weight.double()).to(weight.dtype)
            self._kept = (state, inverse)
        return self._kept[1]
