"""The network of Glow's couplings with frozen weights, compiled for this machine's processor.

Recovery differentiates in the latents alone, hundreds of times with the same weights. The kernel is
one C++ file, built at the first use where the machine has a compiler (see `common.compiled`).
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common import compiled

SOURCE = Path(__file__).with_name("frozen_net.cpp")
# Beyond it the hidden values of a block leave the first cache.
MAX_WIDTH = 128
BLOCK = 32  # pixels, as the kernel's


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("images", "height", "width")),
        *((name, ctypes.c_int) for name in ("inputs", "hidden", "outputs")),
        *((name, ctypes.c_int) for name in ("threads", "marked")),
        *((name, ctypes.c_void_p) for name in ("first", "second", "last")),
        *((name, ctypes.c_void_p) for name in ("first_shift", "second_shift", "last_shift")),
        *((name, ctypes.c_void_p) for name in ("input", "out", "marks")),
    ]


class FrozenNet:
    """Convolve 3x3, rectify, 1x1, rectify, 3x3, with weights and biases that stay as they are.

    Args:
        first, second, last: kernels (hidden, inputs, 3, 3), (hidden, hidden, 1, 1) and
            (outputs, hidden, 3, 3); float32 on a CPU.
        shifts: what is added after each, (hidden,), (hidden,) and (outputs,).

    Shapes: x (B, inputs, H, W) -> (B, outputs, H, W).

    Reference: Glow: Generative Flow with Invertible 1x1 Convolutions, Kingma and Dhariwal, 2018,
    https://arxiv.org/abs/1807.03039, section 3.3.
    """

    def __init__(
        self, first: Tensor, second: Tensor, last: Tensor, shifts: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        self.outputs, self.hidden = last.shape[:2]
        self.inputs = first.shape[1]
        # What a pixel gives to its neighbours is what they take of it, mirrored.
        mirrored = last.flip(2, 3)
        square = second.reshape(self.hidden, self.hidden)
        self.forward = (
            _matrix(first, self.hidden),
            _matrix(square, self.hidden),
            _matrix(mirrored.permute(0, 2, 3, 1), 9 * self.outputs),
        )
        self.backward = (
            _matrix(mirrored.transpose(0, 1), self.hidden),
            _matrix(square.T, self.hidden),
            _matrix(first.permute(1, 2, 3, 0), 9 * self.inputs),
        )
        self.shifts = tuple(_matrix(shift, len(shift)) for shift in shifts)

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = _Frozen.apply(x, self)
        return out


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, net: FrozenNet) -> Tensor:
        x = x.contiguous()
        marks = None
        if ctx.needs_input_grad[0]:
            blocks = library().frozen_net_blocks(*x.shape[-2:])
            marks = torch.empty(len(x), 2, net.hidden, blocks * BLOCK, dtype=torch.int8)
        out = x.new_empty(len(x), net.outputs, *x.shape[-2:])
        _run(net, net.forward, net.shifts, x, out, marks)
        ctx.net, ctx.marks, ctx.inputs = net, marks, x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        out = gradient.new_empty(ctx.inputs)
        _run(ctx.net, ctx.net.backward, None, gradient.contiguous(), out, ctx.marks)
        return out, None


def fits(x: Tensor, hidden: int) -> bool:
    """Return whether the kernel computes a network of so many hidden channels at x."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and hidden <= MAX_WIDTH


def available() -> bool:
    """Return whether the kernel is there or can be built; the reason is said once if not."""
    return library() is not None


@cache
def library() -> Any:
    """Return the kernel, built if need be, or None where that is impossible."""
    found: Any = compiled.load(SOURCE, "inverse_problems", "Glow's networks take the slower path")
    if found is None:
        return None
    found.frozen_net.restype = None
    found.frozen_net.argtypes = [ctypes.c_void_p]
    found.frozen_net_blocks.restype = ctypes.c_int
    found.frozen_net_blocks.argtypes = [ctypes.c_int, ctypes.c_int]
    return found


def _matrix(values: Tensor, rows: int) -> Tensor:
    return values.detach().reshape(rows, -1).contiguous()


def _run(
    net: FrozenNet,
    matrices: tuple[Tensor, ...],
    shifts: tuple[Tensor, ...] | None,
    source: Tensor,
    out: Tensor,
    marks: Tensor | None,
) -> None:
    call = _Call(
        *(len(source), *source.shape[-2:]),
        *(source.shape[1], net.hidden, out.shape[1]),
        *(torch.get_num_threads(), int(shifts is None)),
        *(matrix.data_ptr() for matrix in matrices),
        *([None] * 3 if shifts is None else [shift.data_ptr() for shift in shifts]),
        *(source.data_ptr(), out.data_ptr(), None if marks is None else marks.data_ptr()),
    )
    library().frozen_net(ctypes.byref(call))
