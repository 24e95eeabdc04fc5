"""Record what a result came from and what it cost, without naming a person or a machine."""

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]


def provenance(device: torch.device | str = "cpu", root: Path = ROOT) -> dict[str, Any]:
    """Return commit, versions and device; `commit` and `dirty` are None where git has no answer."""
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "dirty": None if commit is None or changes is None else bool(changes),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": str(numpy.__version__),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device | str) -> str:
    """Return the model name of a GPU or of the processor."""
    device = torch.device(device)
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def parameter_count(model: nn.Module) -> int:
    """Return the number of trained numbers."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Meter:
    """Add up wall time and peak memory of a training over all its resumes.

    Args:
        device: the device that trains; its memory is counted when it is a GPU.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._start = time.monotonic()
        self._before: dict[str, float] = {}
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def state_dict(self) -> dict[str, float]:
        """Return the cost so far: `wall_seconds`, `peak_rss_bytes` and, on a GPU, its peaks."""
        peaks: dict[str, float] = {"peak_rss_bytes": _peak_rss_bytes()}
        if self.device.type == "cuda":
            peaks["peak_allocated_bytes"] = torch.cuda.max_memory_allocated(self.device)
            peaks["peak_reserved_bytes"] = torch.cuda.max_memory_reserved(self.device)
        cost = {name: max(value, self._before.get(name, 0)) for name, value in peaks.items()}
        cost["wall_seconds"] = (
            self._before.get("wall_seconds", 0.0) + time.monotonic() - self._start
        )
        return cost

    def load_state_dict(self, saved: Mapping[str, float]) -> None:
        """Continue from what `state_dict` returned; time lost after that save is not counted."""
        self._before = dict(saved)


def _peak_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
