"""Choose how splines are computed: plainly, or by kernels compiled for the machine."""

import os
import shutil
import sys
from types import TracebackType
from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["eager", "compiled", "auto"]

# Compiling takes seconds, which pays for a training run and not for a test: whoever trains opts in.
_chosen: Backend = "eager"
_said: set[str] = set()

# Below this number of scalars a call is all overhead, and zero and one would compile anew.
FEWEST = 32


class use_backend:
    """Compute splines from now on, or inside `with`, by this backend.

    `eager`: operation by operation, any type and device. `compiled`: one kernel per call, made by
    torch.compile at its first use. `auto`: the fastest there is: our Triton kernel on CUDA where
    Triton is installed, compiled on a CPU that has a C++ compiler, else eager. Both fast ways take
    float32 (half precision is converted) and leave float64, second derivatives under functorch and
    a handful of scalars to eager; where they are impossible, they say so once and use eager.

    Args:
        name: the backend.
    """

    def __init__(self, name: Backend) -> None:
        global _chosen
        if name not in get_args(Backend):
            raise ValueError(
                f"use_backend: expected one of {', '.join(get_args(Backend))}, got {name!r}"
            )
        self._before = _chosen
        _chosen = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _chosen
        _chosen = self._before


def backend_for(v: Tensor) -> Literal["eager", "compiled", "triton"]:
    """Return what computes a spline of these scalars now."""
    if _chosen == "eager" or v.dtype != torch.float32 or v.numel() < FEWEST:
        return "eager"
    # Both trace through plain operations; a kernel inside would stop them.
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return "eager"
    if v.device.type == "cuda":
        return "triton" if _chosen == "auto" and has_triton() else "compiled"
    return "compiled" if v.device.type == "cpu" and _has_compiler() else "eager"


def has_triton() -> bool:
    """Return whether Triton can be imported; said once if not."""
    try:
        import triton  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
    except ImportError:
        say_once("splines: Triton is not installed; using torch.compile")
        return False
    return True


def say_once(message: str) -> None:
    """Print a line on stderr, the first time only."""
    if message not in _said:
        _said.add(message)
        print(message, file=sys.stderr)


def _has_compiler() -> bool:
    # The one that torch.compile would call.
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        say_once(f"splines: no C++ compiler ({name}); using the slower eager path")
        return False
    return True
