"""Bases that images may be sparse in."""

import math
from typing import Literal

import numpy as np
import pywt
import torch
from scipy import fft
from torch import Tensor
from torch.nn import functional

BasisName = Literal["pixel", "dct", "haar"]


class Basis:
    """Write images as x = Psi w, and take inner products with the columns of Psi.

    Psi has orthonormal rows, Psi Psi^T = I, so analysis of an image is its synthesis' inverse.
    Computed on the CPU, without gradients; results go back to where the input was.

    Args:
        shape: (C, H, W) of the images.

    Shapes: x (*batch, C, H, W), w (*batch, k), k at least C H W.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    def analyse(self, x: Tensor) -> Tensor:
        """Return Psi^T x, (*batch, k)."""
        raise NotImplementedError

    def synthesise(self, w: Tensor) -> Tensor:
        """Return Psi w, (*batch, C, H, W)."""
        raise NotImplementedError


class PixelBasis(Basis):
    """Take the pixels themselves."""

    def analyse(self, x: Tensor) -> Tensor:
        return x.flatten(-3)

    def synthesise(self, w: Tensor) -> Tensor:
        return w.unflatten(-1, self.shape)


class CosineBasis(Basis):
    """Take the orthonormal two-dimensional cosine transform of each channel."""

    def analyse(self, x: Tensor) -> Tensor:
        z = fft.dctn(x.detach().cpu().numpy(), axes=(-2, -1), norm="ortho")
        return torch.from_numpy(z).to(x).flatten(-3)

    def synthesise(self, w: Tensor) -> Tensor:
        z = w.unflatten(-1, self.shape).detach().cpu().numpy()
        return torch.from_numpy(fft.idctn(z, axes=(-2, -1), norm="ortho")).to(w)


class HaarBasis(Basis):
    """Take Haar wavelets (db1) of each channel down to the coarsest level.

    PyWavelets' transform is orthonormal where every level has even sides. Images whose sides are
    no powers of two, such as 28, count as the upper left corner of one whose sides are: Psi then
    has more columns than rows, and its rows stay orthonormal. Where height and width differ, the
    shorter one sets the number of levels.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)
        sides = [1 << (side - 1).bit_length() for side in shape[1:]]
        self._padding = (0, sides[1] - shape[2], 0, sides[0] - shape[1])
        self._levels = int(math.log2(min(sides)))
        coarsest = [side >> self._levels for side in sides]
        # The coarse image, then three of details at each level.
        self._sizes = [coarsest]
        for level in range(self._levels):
            self._sizes += [[side << level for side in coarsest]] * 3

    def analyse(self, x: Tensor) -> Tensor:
        image = functional.pad(x.detach(), self._padding).cpu().numpy()
        coarse, *details = pywt.wavedec2(image, "db1", "periodization", self._levels)
        parts = [coarse, *(part for level in details for part in level)]
        flat = [part.reshape(*x.shape[:-3], math.prod(part.shape[-3:])) for part in parts]
        return torch.from_numpy(np.concatenate(flat, axis=-1)).to(x)

    def synthesise(self, w: Tensor) -> Tensor:
        channels, height, width = self.shape
        lengths = [channels * math.prod(size) for size in self._sizes]
        flat = np.split(w.detach().cpu().numpy(), np.cumsum(lengths)[:-1], axis=-1)
        coarse, *details = (
            part.reshape(*w.shape[:-1], channels, *size)
            for part, size in zip(flat, self._sizes, strict=True)
        )
        levels = [tuple(details[k : k + 3]) for k in range(0, len(details), 3)]
        image = pywt.waverec2([coarse, *levels], "db1", "periodization")
        return torch.from_numpy(image[..., :height, :width].copy()).to(w)


BASES: dict[BasisName, type[Basis]] = {"pixel": PixelBasis, "dct": CosineBasis, "haar": HaarBasis}
