"""Several measurements in one batch, so that several problems are solved at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.dense import DenseOperator


class Grouped(LinearOperator):
    """Measure each group of a batch by an operator of its own.

    A batch of B images has G groups of B / G consecutive images; operator g measures group g.
    Measurements are flat and followed by zeros up to the largest m. Matrices are stacked and all
    groups measured by one product, except on a CPU where padding would more than double the work;
    there, and without matrices, operators take turns.

    What stands in y beyond the measurements of a group reaches neither the adjoint nor the
    pseudo-inverse, but would count in ||A x - y||^2: multiply noise by `mask`.

    Args:
        operators: one for each group, for images of the same shape.

    Shapes: x (B, *more, C, H, W), y (B, *more, m), B a multiple of G.

    Raises:
        ValueError: there is no operator, or they differ in their shapes; a batch of another size.
    """

    stack: Tensor | None

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        shapes = {operator.shape for operator in operators}
        if len(shapes) != 1:
            raise ValueError(f"Grouped: expected operators of one shape, got {sorted(shapes)}")
        self.sizes = tuple(operator.m for operator in operators)
        super().__init__(shapes.pop(), (max(self.sizes),))
        self.operators = nn.ModuleList()
        matrices = [o.matrix for o in operators if isinstance(o, DenseOperator)]
        if len(matrices) == len(operators):
            padded = [functional.pad(a, (0, 0, 0, self.m - len(a))) for a in matrices]
            self.register_buffer("stack", torch.stack(padded))
        else:
            self.register_buffer("stack", None)
            self.operators.extend(operators)

    @property
    def groups(self) -> int:
        """Return G, the number of groups."""
        return len(self.sizes)

    def group(self, g: int) -> LinearOperator:
        """Return the operator of a group."""
        if self.stack is None:
            operator = self.operators[g]
            assert isinstance(operator, LinearOperator)
            return operator
        return DenseOperator(self.shape, self.stack[g, : self.sizes[g]])

    def counts(self, batch: int) -> Tensor:
        """Return how many measurements each image of a batch has, int64 (B,), on the CPU.

        Raises:
            ValueError: the batch is no multiple of the number of groups.
        """
        return torch.tensor(self.sizes).repeat_interleave(self._size(batch))

    def mask(self, batch: int) -> Tensor:
        """Return True where a number is a measurement, and no padding: (B, m), on the CPU.

        Raises:
            ValueError: the batch is no multiple of the number of groups.
        """
        return torch.arange(self.m) < self.counts(batch)[:, None]

    def split(self, y: Tensor) -> list[tuple[LinearOperator, Tensor]]:
        """Return each group's operator and measurements (B / G, *more, *measured), unpadded.

        Raises:
            ValueError: the batch is no multiple of the number of groups.
        """
        parts = y.unflatten(0, (self.groups, self._size(len(y))))
        operators = [self.group(g) for g in range(self.groups)]
        return [
            (operator, part[..., : operator.m].unflatten(-1, operator.measured))
            for operator, part in zip(operators, parts, strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(0, (self.groups, self._size(len(x))))
        if self.stack is not None and self._as_one(x):
            y = self._product(parts.flatten(-3), self.stack.mT)
        else:
            y = torch.stack([self._padded(g, part) for g, part in enumerate(parts)])
        return y.flatten(0, 1)

    def adjoint(self, y: Tensor) -> Tensor:
        if self.stack is not None and self._as_one(y):
            parts = y.unflatten(0, (self.groups, self._size(len(y))))
            return self._product(parts, self.stack).unflatten(-1, self.shape).flatten(0, 1)
        return torch.cat([operator.adjoint(part) for operator, part in self.split(y)])

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        return torch.cat([operator.pseudo_inverse(part) for operator, part in self.split(y)])

    def extra_repr(self) -> str:
        return f"shape={self.shape}, m={list(self.sizes)}"

    def _size(self, batch: int) -> int:
        if batch % self.groups:
            raise ValueError(
                f"Grouped: expected a batch that is a multiple of {self.groups}, got {batch}"
            )
        return batch // self.groups

    def _as_one(self, x: Tensor) -> bool:
        return x.is_cuda or self.groups * self.m <= 2 * sum(self.sizes)

    def _product(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """Return rows (G, *more, k) times matrices (G, k, l), (G, *more, l), as one product."""
        flat = rows.reshape(self.groups, rows[0, ..., 0].numel(), rows.shape[-1])
        return torch.bmm(flat, matrices).unflatten(1, rows.shape[1:-1])

    def _padded(self, g: int, x: Tensor) -> Tensor:
        operator = self.group(g)
        y = operator(x).flatten(-len(operator.measured))
        return functional.pad(y, (0, self.m - operator.m))
