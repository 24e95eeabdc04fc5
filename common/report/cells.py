"""Published cells of a paper: what was printed, how it was measured, what agrees with it."""

import difflib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, NonNegativeFloat, field_validator
from pydantic.dataclasses import dataclass

from common.errors import UserError
from common.training.config import load

UNITS = {
    "mse": "mean squared error, in squared units of y",
    "million": "millions of elements",
    "million free parameters": "millions of elements that training can change",
    "epochs": "passes over the training set",
    "s": "seconds",
    "ms": "milliseconds",
    "ms/step": "milliseconds per training step",
    "ms/image": "milliseconds per image",
    "dB": "decibels of the peak signal-to-noise ratio, values from 0 to 1",
    "length": "Euclidean norm",
    "MiB": "2^20 bytes",
    "MiB peak allocated": "2^20 bytes, the largest sum of live tensors",
    "%": "hundredths",
    "nats": "natural logarithm, per data point",
    "bits/dim": "standard bits per dimension of 8-bit data with uniform dequantisation",
    "bits/pixel": "the paper's own scale; the cell's protocol says which",
}

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class Tolerance:
    """A distance, in the cell's unit, that still counts as agreement, and why."""

    value: NonNegativeFloat
    reason: str


@dataclass(frozen=True, config=STRICT)
class LikeForLike:
    """The published number on a scale all rows share; no value where the print does not fix it."""

    value: float | None
    unit: str
    derivation: str

    @field_validator("unit")
    @classmethod
    def _is_known(cls, unit: str) -> str:
        return _known_unit(unit)


@dataclass(frozen=True, config=STRICT)
class Cell:
    """One published number with the protocol behind it.

    `direction` says which measurements agree: within the margin (`equal`), or that or better
    (`lower`, `higher`).
    """

    id: str
    table: str
    row: str
    column: str
    value: float
    published_se: NonNegativeFloat | None
    unit: str
    direction: Literal["lower", "higher", "equal"]
    tolerance: Tolerance
    protocol: str
    source: str
    like_for_like: LikeForLike | None = None

    @field_validator("unit")
    @classmethod
    def _is_known(cls, unit: str) -> str:
        return _known_unit(unit)

    @property
    def place(self) -> tuple[str, str, str]:
        """Return table, row and column, which are unique within a paper too."""
        return self.table, self.row, self.column


@dataclass(frozen=True, config=STRICT)
class Work:
    """The head of a `paper.yaml`: which work its cells come from."""

    paper: str
    title: str
    authors: str
    year: int
    source: str


def load_paper(path: Path) -> tuple[Work, list[Cell]]:
    """Read a `paper.yaml`: the work, and its published cells in their order.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown, absent or of a wrong type, or
            an id or a place stands there twice; the sentence names the file, the cell and the key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; it must list the paper's published cells") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise UserError(f"{path}: expected a mapping with a list 'cells'")
    work = load({key: value for key, value in raw.items() if key != "cells"}, Work, f"{path}:")
    cells: list[Cell] = []
    for number, entry in enumerate(raw["cells"], start=1):
        if not isinstance(entry, dict):
            raise UserError(f"{path}: cell {number} is no mapping")
        cell = load(entry, Cell, f"{path}:cells.{entry.get('id', number)}")
        for other in cells:
            if cell.id == other.id or cell.place == other.place:
                raise UserError(f"{path}: cells {other.id!r} and {cell.id!r} are one and the same")
        cells.append(cell)
    return work, cells


def load_cells(path: Path) -> list[Cell]:
    """Read the published cells of a `paper.yaml` in their order; errors as `load_paper`."""
    return load_paper(path)[1]


def _known_unit(unit: str) -> str:
    if unit not in UNITS:
        near = difflib.get_close_matches(unit, UNITS, n=1, cutoff=0)[0]
        raise ValueError(f"unknown unit {unit!r} (did you mean {near!r}?)")
    return unit
