"""JSON lines: one per comparison, and the files that keep them."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.comparison import Comparison
from benchmarks.paired import Times
from common.errors import UserError
from common.training import atomic
from common.training.provenance import device_name

# A row replaces an older one that agrees in these; anything else is another measurement.
KEY = ("case", "what", "peer", "device", "threads")


def row(case: str, pair: Comparison, times: Times, device: torch.device) -> dict[str, Any]:
    """Return the fields of one line: medians over the rounds in ms, `ratio` is peer over ours."""
    ours, peer, limit = median(times.ours), median(times.peer), median(times.limit)
    ms = 1e3 / pair.pieces
    q1, ratio, q3 = times.ratios()
    return {
        "case": case,
        "what": pair.what,
        "ours": pair.ours,
        "peer": pair.peer,
        "ours_ms": _digits(ms * ours),
        "peer_ms": _digits(ms * peer),
        "ratio": _digits(ratio),
        "ratio_q1": _digits(q1),
        "ratio_q3": _digits(q3),
        "limit": pair.limit.name,
        "limit_ms": _digits(ms * pair.limit.seconds(limit)),
        "limit_share": _digits(pair.limit.seconds(limit) / ours),
        **{name: _digits(value) for name, value in pair.limit.rate(limit).items()},
        **pair.facts,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "rounds": len(times.ours),
        # Well above the threads used: somebody else computed here, and the times are too long.
        "load": _digits(os.getloadavg()[0]) if hasattr(os, "getloadavg") else None,
        "versions": versions(pair.packages),
    }


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of python, torch and the packages; None for what is not installed."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def save(new: dict[str, Any], folder: Path) -> Path:
    """Write a row into <folder>/<case>.jsonl in place of the older one of the same comparison.

    Raises:
        UserError: the file there is not made of JSON lines, or cannot be written.
    """
    path = folder / f"{new['case']}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
        keys = [tuple(old[name] for name in KEY) for old in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not rows of a benchmark ({error}); move it away") from None
    key = tuple(new[name] for name in KEY)
    if key in keys:
        rows[keys.index(key)] = new
    else:
        rows.append(new)
    atomic.write_bytes(path, "".join(json.dumps(r) + "\n" for r in rows).encode())
    return path


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
