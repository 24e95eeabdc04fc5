"""Independent normal measurements, as compressed sensing is usually tried."""

import torch

from inverse_problems.operators.dense import DenseOperator


class GaussianOperator(DenseOperator):
    """Measure by a matrix A (m, n) of independent N(0, 1/m), so that E||A x||^2 = ||x||^2.

    A is a function of the generator's state alone: it is drawn in float64 on the CPU, row after
    row, and cast then. From the same seed, the matrix of a smaller m is the first rows of that of
    a larger one, times sqrt(larger / smaller).

    Source: Asim, Daniels, Leong, Ahmed, Hand, "Invertible generative models for inverse problems:
    mitigating representation error and dataset bias", 2020, https://arxiv.org/abs/1905.11672.

    Args:
        shape: (C, H, W) of the images; n = C H W.
        m: number of measurements of an image.
        generator: on the CPU.
        dtype: of the matrix; None for torch's default.

    Raises:
        ValueError: m is not positive, or the generator is on another device.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        m: int,
        generator: torch.Generator,
        dtype: torch.dtype | None = None,
    ) -> None:
        if m < 1:
            raise ValueError(f"GaussianOperator: m must be positive, got {m}")
        if generator.device.type != "cpu":
            raise ValueError(
                f"GaussianOperator: expected a generator on the CPU, got {generator.device}"
            )
        n = torch.Size(shape).numel()
        # Row by row: in float64 a large matrix need not fit as a whole.
        matrix = torch.empty(m, n, dtype=dtype or torch.get_default_dtype())
        for row in matrix:
            row.copy_(torch.randn(n, generator=generator, dtype=torch.float64) / m**0.5)
        super().__init__(shape, matrix)
