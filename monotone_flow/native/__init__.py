"""Blocks of the plane compiled for this machine's processor: the same maps, many times faster.

The kernel is one C++ file, built at the first use where the machine has a compiler (see
`common.compiled`).
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import compiled
from monotone_flow.tape import Net

SOURCE = Path(__file__).with_name("block.cpp")
# As the kernel's.
FEATURES, MAX_LAYERS, MAX_OUT, MAX_ROWS = 2, 4, 32, 132
KINDS = ("residual", "inverse_residual", "monotone")
ACTIVATIONS = ("cpila", "clipswish", "lipswish", "crelu")
LIMIT = 60


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("kind", "activation", "halves", "layers")),
        *((name, ctypes.c_int) for name in ("models", "batch")),
        *((name, ctypes.c_int * (MAX_LAYERS + 1)) for name in ("out", "start", "stop")),
        *((name, ctypes.c_void_p * (MAX_LAYERS + 1)) for name in ("weight", "bias")),
        ("beta", ctypes.c_void_p),
        ("tol", ctypes.c_float),
        ("limit", ctypes.c_int),
    ]


def fits(net: Net, x: Tensor) -> bool:
    """Return whether the kernel computes this net at x (K, D, B)."""
    sizes = [weight.shape[-2] for weight in net.weights[:-1]]
    return (
        x.device.type == "cpu"
        and all(t.dtype == torch.float32 and len(t) == len(x) for t in (x, *net.tensors()))
        and x.shape[1] == FEATURES
        and x.shape[2] > 0
        and net.profile.name in ACTIVATIONS
        and len(sizes) <= MAX_LAYERS
        and max(sizes, default=0) <= MAX_OUT
        and net.span(len(sizes))[1] <= MAX_ROWS
    )


def forward(kind: str, net: Net, x: Tensor, tol: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return the root w, z, log-determinants (K, B) and the largest relative residual."""
    x = x.contiguous()
    call, kept = _describe(kind, net, x, tol)
    w, z = torch.empty_like(x), torch.empty_like(x)
    logdet = x.new_empty(x.shape[0], x.shape[2])
    worst = library().block_forward(
        ctypes.byref(call), x.data_ptr(), w.data_ptr(), z.data_ptr(), logdet.data_ptr()
    )
    del kept
    return w, z, logdet, worst


def backward(
    kind: str, net: Net, w: Tensor, z_bar: Tensor, logdet_bar: Tensor
) -> tuple[Tensor, ...]:
    """Return the cotangent of x, and those of `net.tensors()` in their order."""
    call, kept = _describe(kind, net, w, 0.0)
    z_bar, logdet_bar = z_bar.contiguous(), logdet_bar.contiguous()
    x_bar = torch.empty_like(w)
    bars = [torch.empty_like(tensor) for tensor in kept]
    layers = len(net.weights)
    pointers = ctypes.c_void_p * (MAX_LAYERS + 1)
    beta_bar = bars[-1] if net.betas else None
    library().block_backward(
        ctypes.byref(call),
        w.data_ptr(),
        z_bar.data_ptr(),
        logdet_bar.data_ptr(),
        x_bar.data_ptr(),
        pointers(*(bar.data_ptr() for bar in bars[:layers])),
        pointers(*(bar.data_ptr() for bar in bars[layers : 2 * layers])),
        beta_bar.data_ptr() if beta_bar is not None else None,
    )
    betas = beta_bar.view(len(net.betas), -1, 1, 1).unbind() if beta_bar is not None else ()
    return (x_bar, *bars[: 2 * layers], *betas)


def _describe(kind: str, net: Net, x: Tensor, tol: float) -> tuple[_Call, list[Tensor]]:
    """Return the call's description and the tensors it points into, which must outlive it."""
    kept = [tensor.detach().contiguous() for tensor in (*net.weights, *net.biases)]
    layers = len(net.weights)
    call: Any = _Call()
    call.kind, call.activation = KINDS.index(kind), ACTIVATIONS.index(net.profile.name)
    call.halves, call.layers = len(net.profile.signs), layers - 1
    call.models, call.batch = x.shape[0], x.shape[2]
    for layer in range(layers):
        call.out[layer] = net.weights[layer].shape[-2]
        call.start[layer], call.stop[layer] = net.span(layer)
        call.weight[layer] = kept[layer].data_ptr()
        call.bias[layer] = kept[layers + layer].data_ptr()
    if net.betas:
        kept.append(torch.stack([beta.detach().flatten() for beta in net.betas]).contiguous())
        call.beta = kept[-1].data_ptr()
    call.tol, call.limit = tol, LIMIT
    return call, kept


def digest() -> str:
    """Return the SHA-256 of the kernel's source, which no import shows."""
    return compiled.digest(SOURCE)


def available() -> bool:
    """Return whether the kernel is there or can be built; the reason is said once if not."""
    return library() is not None


@cache
def library() -> Any:
    """Return the kernel, built if need be, or None where that is impossible."""
    found: Any = compiled.load(SOURCE, "monotone_flow", "blocks of the plane take the slower path")
    if found is None:
        return None
    found.block_forward.restype = ctypes.c_float
    found.block_forward.argtypes = [ctypes.c_void_p] * 5
    found.block_backward.restype = None
    found.block_backward.argtypes = [ctypes.c_void_p] * 8
    return found
