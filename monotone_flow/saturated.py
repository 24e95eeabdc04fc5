"""Build nets that reach a given Lipschitz constant, where drawn ones stay far below their bound.

What holds for a net with random weights says little about what can happen: the product of its
layers' norms may be 0.85 and its true constant 0.15. The nets here that reach theirs are linear,
nearly linear and smooth, or fold space and keep the lengths in each piece. All are K models of one
shape in float64.
"""

import torch
from torch import Generator, Tensor

from monotone_flow.activations import PILA_SPEED
from monotone_flow.profiles import PROFILES
from monotone_flow.tape import Net

# A sine over this range bends little.
GENTLE = 1e-2


def linear(matrix: Tensor) -> Net:
    """Return the nets x -> matrix x, with matrices (K, D, D) and without an activation."""
    return _net("crelu", [matrix], [matrix.new_zeros(matrix.shape[:2])])


def rotations(models: int, features: int, lipschitz: float, generator: Generator) -> Net:
    """Return nets L Q with random orthogonal Q (K, D, D)."""
    return linear(lipschitz * _orthogonal(models, features, generator))


def folds(
    models: int, features: int, lipschitz: float, generator: Generator, *, depth: int = 3
) -> Net:
    """Return nets that fold space `depth` times, rotating between the folds, and scale it by L.

    A fold takes x to |x| in a random half of the coordinates: CReLU gives [relu(x), relu(-x)], and
    the next layer adds or subtracts the two. It keeps the lengths within each piece.
    """
    weights = [_orthogonal(models, features, generator)]
    for _ in range(depth):
        turn = _orthogonal(models, features, generator)
        sign = _draw((models, 1, features), generator).sign()
        weights.append(torch.cat((turn, turn * sign), -1))
    weights[-1] = lipschitz * weights[-1]
    biases = [_draw((models, features), generator) for _ in weights]
    return _net("crelu", weights, biases)


def bends(
    models: int, features: int, lipschitz: float, generator: Generator, *, depth: int = 2
) -> Net:
    """Return nets that rotate and bend space `depth` times by CPila, of which one half is taken.

    Of each pair of channels a random one goes on, times 1.06: a Pila, of slope one on one side and
    down to -0.35 on the other. So L is reached where no coordinate has been bent.
    """
    weights = [_orthogonal(models, features, generator)]
    for _ in range(depth):
        turn = PILA_SPEED * _orthogonal(models, features, generator)
        taken = (_draw((models, 1, features), generator) > 0).double()
        weights.append(torch.cat((turn * taken, turn * (1 - taken)), -1))
    weights[-1] = lipschitz * weights[-1]
    biases = [_draw((models, features), generator) for _ in weights]
    return _net("cpila", weights, biases)


def sines(models: int, features: int, lipschitz: float, generator: Generator) -> Net:
    """Return nets L Q sin(a x) / a with a small a, whose constant L is reached at 0."""
    inner = GENTLE * torch.eye(features, dtype=torch.float64).expand(models, -1, -1)
    outer = lipschitz / GENTLE * _orthogonal(models, features, generator)
    return _net("sine", [inner, outer], [outer.new_zeros(models, features)] * 2)


def cpila(
    models: int, features: int, lipschitz: float, generator: Generator, *, width: int = 16
) -> Net:
    """Return random CPila nets whose three layers have norm one, the last one L.

    This is what training starts from: L is their bound, and they stay far below it.
    """
    shapes = [(width, features), (width, 2 * width), (features, 2 * width)]
    weights = [_draw((models, *shape), generator) for shape in shapes]
    weights = [w / torch.linalg.matrix_norm(w, ord=2, keepdim=True) for w in weights]
    weights[-1] = lipschitz * weights[-1]
    return _net("cpila", weights, [_draw((models, rows), generator) for rows, _ in shapes])


def _net(profile: str, weights: list[Tensor], biases: list[Tensor]) -> Net:
    return Net(tuple(weights), tuple(biases), (), PROFILES[profile], dense=False)


def _orthogonal(models: int, features: int, generator: Generator) -> Tensor:
    return torch.linalg.qr(_draw((models, features, features), generator)).Q


def _draw(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
