"""Bound the Lipschitz constants of a trained model from above, by exact norms of its layers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from common.solvers import NotConverged
from monotone_flow.images.lipschitz import Lipschitz, LipschitzConv2d
from monotone_flow.images.nets import LipschitzNet

DENSE = 1024  # entries of an input up to which the operator is written out
DIGITS = 1e-9  # relative accuracy of the squared norm by Lanczos
MOST_RESTARTS = 3000


@dataclass(frozen=True)
class NetCertificate:
    """What a network promises and what its present weights keep.

    Args:
        name: of the network within the model.
        promised: its Lipschitz constant if all layers keep to their coefficients.
        bound: the same from the exact norms. Below one, the block is invertible.
        norms: the exact norm of each layer with the weights that count, by name.
    """

    name: str
    promised: float
    bound: float
    norms: dict[str, float]


def certificate(model: nn.Module) -> list[NetCertificate]:
    """Return one certificate for each Lipschitz network of a model.

    Raises: NotConverged where the norm of a convolution is not found.
    """
    return [
        _certify(name, net) for name, net in model.named_modules() if isinstance(net, LipschitzNet)
    ]


def _certify(name: str, net: LipschitzNet) -> NetCertificate:
    norms = {part: exact_norm(m) for part, m in net.named_modules() if isinstance(m, Lipschitz)}
    found = {net.get_submodule(part): value for part, value in norms.items()}
    return NetCertificate(name, net.lipschitz(), net.lipschitz(lambda layer: found[layer]), norms)


@torch.no_grad()
def exact_norm(layer: Lipschitz) -> float:
    """Return the largest singular value of a layer's linear map, with the weights that count.

    Matrices and small convolutions are decomposed in float64. The largest eigenvalue of K^T K of
    the other convolutions is found by Lanczos' method to nine digits.
    """
    weight = layer.normalised().double()
    if not isinstance(layer, LipschitzConv2d):
        return torch.linalg.matrix_norm(weight, 2).item()
    v = layer.v.double()
    if v.numel() <= DENSE:
        units = torch.eye(v.numel(), dtype=v.dtype, device=v.device).reshape(-1, *v.shape[1:])
        return torch.linalg.matrix_norm(layer.operate(units, weight).flatten(1), 2).item()

    def square(x: Any) -> Any:
        image = torch.from_numpy(np.asarray(x)).to(v).reshape(v.shape)
        return _vector(layer.adjoint(layer.operate(image, weight), weight))

    operator = LinearOperator((v.numel(),) * 2, matvec=square, dtype=np.float64)
    try:
        (largest,) = eigsh(
            operator,
            k=1,
            which="LA",
            v0=_vector(v),
            tol=DIGITS,
            maxiter=MOST_RESTARTS,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        raise NotConverged(f"exact_norm: {error}; expected finite weights") from error
    return float(largest) ** 0.5


def _vector(x: Tensor) -> Any:
    return x.flatten().cpu().numpy()
