"""Compile small elementwise functions into single kernels, where that is asked for and possible.

Between two matrix products of a small net lie a dozen elementwise operations, each over all samples;
as one kernel they cost one. Compiling takes seconds, which pays for a training and not for a test.
"""

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

_sizes: frozenset[int] = frozenset()
_said: set[str] = set()


@contextmanager
def fused(sizes: Collection[int]) -> Iterator[None]:
    """Use compiled kernels inside `with`, for float32 batches of these sizes.

    Each size is compiled once; every other one stays eager, and so does everything on a CPU without
    a C++ compiler, which is said once.
    """
    global _sizes
    before, _sizes = _sizes, frozenset(sizes) if _possible() else frozenset()
    try:
        yield
    finally:
        _sizes = before


def fusible(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of tensors be compiled; its last argument is the size of the batch."""
    compiled = torch.compile(function, dynamic=False, fullgraph=True)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if args[-1] in _sizes and _is_single(args):
            return compiled(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def _is_single(args: tuple[object, ...]) -> bool:
    return all(a.dtype == torch.float32 for a in args if isinstance(a, Tensor))


def _possible() -> bool:
    if torch.cuda.is_available():
        return True
    # The compiler that torch.compile would call.
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        if name not in _said:
            _said.add(name)
            print(f"no C++ compiler ({name}); using slower kernels", file=sys.stderr)
        return False
    return True
