"""Choose compiled kernels, where they are asked for and possible.

Between two matrix products of a small net lie a dozen elementwise operations, each over all
samples; as one kernel they cost one. Blocks of the plane have a kernel as a whole (`native`).
Compiling takes seconds, which pays for a training and not for a test.
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
from torch._dynamo import config as dynamo

P = ParamSpec("P")
R = TypeVar("R")

# Kernels of one function in a process. Beyond it torch raises an error, by default at the ninth:
# several models, or a rare batch size, may get there.
KERNELS = 128

_sizes: frozenset[int] = frozenset()
_native = False
_said: set[str] = set()


@contextmanager
def fused(sizes: Collection[int]) -> Iterator[None]:
    """Use compiled kernels inside `with`, for float32 batches of these sizes.

    Each size is compiled once; every other one stays eager, and so does everything on a CPU without
    a C++ compiler, which is said once. Blocks that `native` computes take any size, given one here.
    """
    global _sizes, _native
    before = _sizes, _native
    _sizes = frozenset(sizes) if _possible() else frozenset()
    _native = bool(_sizes)
    try:
        with dynamo.patch(recompile_limit=KERNELS):
            yield
    finally:
        _sizes, _native = before


def native_wanted() -> bool:
    """Return whether blocks may take their native kernel."""
    return _native


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
