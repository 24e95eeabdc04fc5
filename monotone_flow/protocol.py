"""What `params.yaml` may say about the evaluation of vectors."""

from pydantic import ConfigDict, PositiveInt, model_validator
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Evaluate:
    """Say how a trained model is scored.

    Args:
        points: fresh test points of each set; of the staircase, midpoints of the grid.
        samples: samples of each set's first model, for the figures.
        grid: cells along each axis of the window that is drawn.
        certified: points of each model whose round trip is measured.
        jacobians: of these, the points whose log-determinant meets the exact Jacobian.
        cells: cells along each axis of the box over which the density is integrated.
        seed: of points and samples.
    """

    points: PositiveInt = 100_000
    samples: PositiveInt = 160_000
    grid: PositiveInt = 400
    certified: PositiveInt = 1000
    jacobians: PositiveInt = 20
    cells: PositiveInt = 400
    seed: int = 1

    @model_validator(mode="after")
    def _consistent(self) -> "Evaluate":
        if self.jacobians > self.certified:
            raise ValueError(
                f"jacobians are taken at certified points: expected at most {self.certified}, "
                f"got {self.jacobians}"
            )
        if self.cells % 2:  # the integral is compared with that of every second cell
            raise ValueError(f"expected an even number of cells, got {self.cells}")
        return self
