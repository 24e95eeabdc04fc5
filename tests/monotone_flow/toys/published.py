"""The eight sets as the published code draws them, with numpy and scikit-learn; (n, 2) each."""

import numpy as np
from sklearn.datasets import make_circles, make_moons, make_swiss_roll


def swissroll(n, rng):
    return make_swiss_roll(n, noise=1.0, random_state=state(rng))[0][:, [0, 2]] / 5


def circles(n, rng):
    return make_circles(n, factor=0.5, noise=0.08, random_state=state(rng))[0] * 3


def rings(n, rng):
    angle = np.linspace(0, 2 * np.pi, n // 4, endpoint=False)
    circle = np.stack((np.cos(angle), np.sin(angle)), 1)
    x = 3 * np.concatenate([radius * circle for radius in (1, 0.75, 0.5, 0.25)])
    return rng.permutation(x) + 0.08 * rng.standard_normal((n, 2))


def moons(n, rng):
    return make_moons(n, noise=0.1, random_state=state(rng))[0] * 2 + np.array([-1, -0.2])


def gaussians(n, rng):
    s = 2**-0.5
    units = [(1, 0), (-1, 0), (0, 1), (0, -1), (s, s), (s, -s), (-s, s), (-s, -s)]
    centres = 4 * np.array(units)[rng.integers(8, size=n)]
    return (centres + 0.5 * rng.standard_normal((n, 2))) / 1.414


def pinwheel(n, rng):
    features = rng.standard_normal((n, 2)) * np.array([0.3, 0.1]) + np.array([1, 0])
    angle = 2 * np.pi / 5 * np.repeat(np.arange(5), n // 5) + 0.25 * np.exp(features[:, 0])
    turn = np.stack((np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)), 1)
    return 2 * rng.permutation(np.einsum("ti,tij->tj", features, turn.reshape(-1, 2, 2)))


def spirals(n, rng):
    r = np.sqrt(rng.random(n // 2)) * 540 * (2 * np.pi) / 360
    first = -np.cos(r) * r + 0.5 * rng.random(n // 2)
    second = np.sin(r) * r + 0.5 * rng.random(n // 2)
    arm = np.stack((first, second), 1)
    return np.concatenate((arm, -arm)) / 3 + 0.1 * rng.standard_normal((n, 2))


def checkerboard(n, rng):
    first = 4 * rng.random(n) - 2
    second = rng.random(n) - 2 * rng.integers(2, size=n) + np.floor(first) % 2
    return 2 * np.stack((first, second), 1)


def state(rng):
    return int(rng.integers(2**31))


PUBLISHED = {
    "swissroll": swissroll,
    "circles": circles,
    "rings": rings,
    "moons": moons,
    "8gaussians": gaussians,
    "pinwheel": pinwheel,
    "2spirals": spirals,
    "checkerboard": checkerboard,
}
