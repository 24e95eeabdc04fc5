"""A few images of a batch, measured as they were at their places in the whole of it."""

from torch import Tensor

from inverse_problems.operators.base import LinearOperator


class Placed(LinearOperator):
    """Measure R images as an operator would measure them among B.

    For operators whose map depends on an image's place in the batch. All B places are computed,
    which costs little beside a generative model.

    Args:
        operator: of a batch of B images.
        places: of these images in that batch, int64 (R,).
        batch: B.

    Shapes: x (R, C, H, W), y (R, *measured).
    """

    def __init__(self, operator: LinearOperator, places: Tensor, batch: int) -> None:
        super().__init__(operator.shape, operator.measured)
        self.operator, self.places, self.batch = operator, places, batch

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(self._spread(x))[self.places]

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(self._spread(y))[self.places]

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        return self.operator.pseudo_inverse(self._spread(y))[self.places]

    def take(self, rows: Tensor) -> "Placed":
        """Return that of some of these images, int64."""
        return Placed(self.operator, self.places[rows], self.batch)

    def _spread(self, part: Tensor) -> Tensor:
        whole = part.new_zeros(self.batch, *part.shape[1:])
        return whole.index_copy(0, self.places, part)


def rows_of(operator: LinearOperator, rows: Tensor, batch: int) -> LinearOperator:
    """Return what measures these images, int64 (R,), of a batch of B as the operator does."""
    if isinstance(operator, Placed):
        return operator.take(rows)
    if getattr(operator, "groups", 1) > 1:
        return Placed(operator, rows, batch)
    return operator
