"""What the machine can do: products of the same shapes, and a large copy."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Product:
    """Describe a batched matrix product (*batch, m, k) @ (*batch, k, n).

    Args:
        batch: leading dimensions; () for a single product.
        m: rows of the result.
        k: what is summed over.
        n: columns of the result.
        layout: `n` or `t` for each factor: stored as it is, or as its transpose.
    """

    batch: tuple[int, ...]
    m: int
    k: int
    n: int
    layout: str = "nn"

    @property
    def flops(self) -> float:
        """Return the number of operations, a multiplication and an addition counted as two."""
        return 2.0 * torch.Size(self.batch).numel() * self.m * self.k * self.n


class Limit:
    """Bound a piece of work from below by its operations at the measured rate of `products`.

    Both sides of a comparison may use any products; the limit uses contiguous operands of its own,
    with nothing between one product and the next. A call runs all of them `repeat` times.

    Args:
        products: shapes to measure the rate on.
        device: where.
        flops: operations of the work; those of the products if None, and then the limit is simply
            the time of the products.
        repeat: how often a call runs the products.
    """

    name = "matrix products"

    def __init__(
        self,
        products: Sequence[Product],
        device: torch.device,
        flops: float | None = None,
        repeat: int = 1,
    ) -> None:
        self._repeat = repeat
        self._operands = [_operands(product, device) for product in products]
        self._measured = repeat * sum(product.flops for product in products)
        self.flops = self._measured if flops is None else flops

    def __call__(self) -> None:
        for _ in range(self._repeat):
            for left, right, out in self._operands:
                torch.matmul(left, right, out=out)

    def seconds(self, measured: float) -> float:
        """Return the limit of the work, given how long a call took."""
        return measured * self.flops / self._measured

    def gflops(self, measured: float) -> float:
        """Return the rate in 1e9 operations per second, given how long a call took."""
        return self._measured / measured / 1e9

    def rate(self, measured: float) -> dict[str, float]:
        """Return the rate as a field of a row."""
        return {"limit_gflops": self.gflops(measured)}


class Traffic:
    """Bound work that computes little by the memory it must read and write, at a copy's rate.

    Args:
        moved: bytes read plus bytes written, each number counted once.
        device: where.
    """

    name = "memory traffic"

    def __init__(self, moved: int, device: torch.device) -> None:
        self.moved = moved
        self._source = torch.zeros(moved // 2, dtype=torch.uint8, device=device)
        self._target = torch.empty_like(self._source)

    def __call__(self) -> None:
        self._target.copy_(self._source)

    def seconds(self, measured: float) -> float:
        """Return the limit of the work, given how long a call took."""
        return measured

    def rate(self, measured: float) -> dict[str, float]:
        """Return the rate as a field of a row, in 1e9 bytes per second."""
        return {"limit_gbytes_per_s": self.moved / measured / 1e9}


def _operands(product: Product, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    def factor(rows: int, columns: int, layout: str) -> Tensor:
        if layout == "t":
            return torch.randn(*product.batch, columns, rows, device=device).mT
        return torch.randn(*product.batch, rows, columns, device=device)

    left = factor(product.m, product.k, product.layout[0])
    right = factor(product.k, product.n, product.layout[1])
    return left, right, torch.empty(*product.batch, product.m, product.n, device=device)


def copy_bytes_per_second(device: torch.device, size: int = 2**28, rounds: int = 5) -> float:
    """Return bytes read plus bytes written per second by a copy of `size` bytes, the best round."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(rounds):
        synchronise(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size / best


def synchronise(device: torch.device) -> None:
    """Wait for the device's queue, where it has one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
