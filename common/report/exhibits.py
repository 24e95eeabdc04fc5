"""Read a paper's result folder: its tables, figures and costs, ready to be shown."""

import base64
import csv
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.report.tables import MISSING, shown

_IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class ShownTable:
    """A table as text: `kinds` holds each column's kind, `rows` what people read."""

    title: str
    caption: str
    note: str
    headers: list[str]
    kinds: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class ShownFigure:
    """A figure with its picture as a data address."""

    title: str
    caption: str
    alt: str
    data: str
    width: int
    height: int

    @property
    def is_wide(self) -> bool:
        """Say whether the picture wants the full width of a page."""
        return self.width > 1.6 * self.height


@dataclass(frozen=True)
class ShownCost:
    """What one run took."""

    dataset: str
    method: str
    time: str
    memory: str
    device: str


def load_tables(folder: Path) -> list[ShownTable]:
    """Read the tables that `write_tables` left in `folder`, in its order; none if it is not there.

    Raises:
        UserError: a listed file is missing, or a column of the index is not in the CSV.
    """
    return [_table(folder, entry) for entry in _index(folder, ("name", "title", "caption"))]


def load_figures(folder: Path) -> list[ShownFigure]:
    """Read the pictures that `index.json` in `folder` lists, in its order; none if it is not there.

    Raises:
        UserError: a listed picture is missing or neither PNG nor SVG.
    """
    return [_figure(folder, entry) for entry in _index(folder, ("file", "title", "caption", "alt"))]


def load_costs(folder: Path) -> list[ShownCost]:
    """Read `<dataset>/<method>/cost.json` below a paper's result folder, sorted.

    The keys read are those of `common.training.provenance`: `wall_seconds`, `device`, and the peak
    memory `peak_allocated_bytes` on a GPU, else `peak_rss_bytes`; all may be absent.
    """
    costs = []
    for path in sorted(folder.glob("*/*/cost.json")):
        raw = _json(path)
        if not isinstance(raw, dict):
            raise UserError(f"{path}: expected an object, got {type(raw).__name__}")
        seconds = raw.get("wall_seconds")
        costs.append(
            ShownCost(
                dataset=path.parent.parent.name,
                method=path.parent.name,
                time=MISSING if seconds is None else duration(float(seconds)),
                memory=_memory(raw),
                device=str(raw.get("device", MISSING)),
            )
        )
    return costs


def duration(seconds: float) -> str:
    """Return a time as people say it: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _memory(cost: dict[str, Any]) -> str:
    for key, where in (("peak_allocated_bytes", "GPU"), ("peak_rss_bytes", "process")):
        if key in cost:
            return f"{float(cost[key]) / 2**20:,.0f} MiB ({where})"
    return MISSING


def _table(folder: Path, entry: dict[str, Any]) -> ShownTable:
    path = folder / f"{entry['name']}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
            keys = list(reader.fieldnames or [])
    except FileNotFoundError:
        raise UserError(f"{path}: listed in {folder / 'index.json'} but not there") from None
    columns = entry.get("columns") or [{"key": key, "header": key} for key in keys]
    for column in columns:
        if column["key"] not in keys:
            raise UserError(f"{path}: no column {column['key']!r}, found {', '.join(keys)}")
    return ShownTable(
        title=entry["title"],
        caption=entry["caption"],
        note=entry.get("note", ""),
        headers=[column["header"] for column in columns],
        kinds=[column.get("kind", "text") for column in columns],
        rows=[[_shown_entry(column, line) for column in columns] for line in lines],
    )


def _shown_entry(column: dict[str, Any], line: dict[str, str]) -> str:
    text = line[column["key"]]
    if column.get("kind") == "integer" and text.lstrip("-").isdigit():
        text = f"{int(text):,}"
    error = line.get(column.get("error") or "", "")
    return shown(text, error) if text else MISSING


def _figure(folder: Path, entry: dict[str, Any]) -> ShownFigure:
    path = folder / entry["file"]
    kind = _IMAGE_TYPES.get(path.suffix)
    if kind is None:
        raise UserError(f"{path}: expected a .png or .svg picture")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: listed in {folder / 'index.json'} but not there") from None
    width, height = _size(path, data)
    return ShownFigure(
        title=entry["title"],
        caption=entry["caption"],
        alt=entry["alt"],
        data=f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}",
        width=width,
        height=height,
    )


def _size(path: Path, data: bytes) -> tuple[int, int]:
    """Return width and height in CSS pixels, so that the page keeps the place while it loads."""
    if data.startswith(b"\x89PNG") and len(data) > 24:
        width, height = struct.unpack(">II", data[16:24])
        return width * 96 // 150, height * 96 // 150  # pictures are saved at 150 dots per inch
    box = re.search(rb'<svg[^>]*?\sviewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', data)
    if box is None:
        raise UserError(f"{path}: neither a PNG nor an SVG with a viewBox")
    return round(float(box[1]) * 96 / 72), round(float(box[2]) * 96 / 72)


def _index(folder: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    path = folder / "index.json"
    if not path.exists():
        return []
    entries = _json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path}: expected a list, got {type(entries).__name__}")
    for number, entry in enumerate(entries, start=1):
        if missing := [key for key in keys if not isinstance(entry, dict) or key not in entry]:
            raise UserError(f"{path}, entry {number}: key {missing[0]!r} is missing")
    return entries


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from None
