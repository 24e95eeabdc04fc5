"""Random measurements of large images that need no matrix: a cosine transform, subsampled."""

import math

import torch
from torch import Tensor

from inverse_problems.operators.base import LinearOperator


def dct(x: Tensor) -> Tensor:
    """Return the orthonormal cosine transform (type II) of the last dimension, in O(n log n).

    By one real Fourier transform of the reordered input.
    Source: Makhoul, "A fast cosine transform in one and two dimensions", 1980.

    Shapes: (*batch, n) -> (*batch, n).
    """
    n = x.shape[-1]
    reordered = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), -1)
    turned = torch.fft.rfft(reordered) * _turns(x)
    # What is above the middle follows from what is below: the input is real.
    z = torch.cat((turned.real, -turned.imag[..., 1 : (n + 1) // 2].flip(-1)), -1)
    return z * _scales(x)


def idct(z: Tensor) -> Tensor:
    """Return the inverse of `dct`, which is its adjoint.

    Shapes: (*batch, n) -> (*batch, n).
    """
    n = z.shape[-1]
    plain = z / _scales(z)
    half = n // 2 + 1
    mirrored = torch.cat(
        (torch.zeros_like(plain[..., :1]), plain[..., n - half + 1 :].flip(-1)), -1
    )
    spectrum = torch.complex(plain[..., :half], -mirrored) * _turns(z).conj()
    reordered = torch.fft.irfft(spectrum, n)
    x = torch.empty_like(z)
    x[..., ::2] = reordered[..., : (n + 1) // 2]
    x[..., 1::2] = reordered[..., (n + 1) // 2 :].flip(-1)
    return x


def _turns(x: Tensor) -> Tensor:
    """Return exp(-i pi k / 2n) of k = 0 to n // 2, in the precision of x."""
    n = x.shape[-1]
    angle = torch.arange(n // 2 + 1, device=x.device, dtype=torch.float64) * (-math.pi / (2 * n))
    return torch.complex(angle.cos().to(x.dtype), angle.sin().to(x.dtype))


def _scales(x: Tensor) -> Tensor:
    """Return what makes the transform orthonormal, (n,)."""
    n = x.shape[-1]
    scales = torch.full((n,), math.sqrt(2 / n), device=x.device, dtype=x.dtype)
    scales[0] = math.sqrt(1 / n)
    return scales


class CosineOperator(LinearOperator):
    """Flip the signs of pixels at random, transform by cosines, keep m coefficients at random.

    A = sqrt(n / m) R C D with D the signs, C the orthonormal cosine transform of all n pixels in a
    row, and R a choice of m rows; so E||A x||^2 = ||x||^2 and each entry has variance 1/m, like a
    Gaussian matrix. The rows are orthogonal, unlike a Gaussian matrix's: A A^T = (n / m) I.
    Both directions take O(n log n), and n + m numbers are stored.

    Source of such operators: Ailon, Chazelle, "The fast Johnson-Lindenstrauss transform and
    approximate nearest neighbors", 2009 (there with Hadamard's transform and a sparse matrix).

    Args:
        shape: (C, H, W) of the images; n = C H W.
        m: number of measurements of an image, at most n.
        generator: on the CPU.

    Shapes: x (*batch, C, H, W), y (*batch, m).

    Raises:
        ValueError: m is not 1 to n, or the generator is on another device.
    """

    signs: Tensor
    rows: Tensor

    def __init__(self, shape: tuple[int, int, int], m: int, generator: torch.Generator) -> None:
        super().__init__(shape, (m,))
        if not 1 <= m <= self.n:
            raise ValueError(f"CosineOperator: m must be 1 to {self.n}, got {m}")
        if generator.device.type != "cpu":
            raise ValueError(
                f"CosineOperator: expected a generator on the CPU, got {generator.device}"
            )
        signs = torch.randint(2, (self.n,), generator=generator, dtype=torch.int8) * 2 - 1
        # Integers take on the precision of what they multiply.
        self.register_buffer("signs", signs)
        self.register_buffer("rows", torch.randperm(self.n, generator=generator)[:m].sort().values)

    def forward(self, x: Tensor) -> Tensor:
        z = dct(x.flatten(-3) * self.signs)
        return z[..., self.rows] * math.sqrt(self.n / self.m)

    def adjoint(self, y: Tensor) -> Tensor:
        z = y.new_zeros(*y.shape[:-1], self.n).index_copy(-1, self.rows, y)
        x = idct(z) * self.signs * math.sqrt(self.n / self.m)
        return x.unflatten(-1, self.shape)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        return self.adjoint(y) * (self.m / self.n)
