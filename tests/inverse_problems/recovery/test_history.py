import torch
from torch.testing import assert_close

from inverse_problems.recovery.history import History


def two_loops(pairs, scale, grad):
    """Return -H grad by the recursion as it is published, from the oldest pair to the newest."""
    q, weights = -grad, []
    for s, y in reversed(pairs):
        weights.append(s.dot(q) / s.dot(y))
        q = q - weights[-1] * y
    r = scale * q
    for (s, y), a in zip(pairs, reversed(weights), strict=True):
        r = r + (a - y.dot(r) / s.dot(y)) * s
    return r


def test_directions_are_those_of_the_two_loops_whatever_pairs_an_image_accepts():
    generator = torch.Generator().manual_seed(0)
    images, k, memory = 5, 12, 4
    history = History(images, memory, torch.zeros(images, k, dtype=torch.float64))
    root = torch.randn(k, k, generator=generator, dtype=torch.float64)
    hessian = root @ root.T / k + torch.eye(k, dtype=torch.float64)
    lists = [[] for _ in range(images)]
    scales = [torch.tensor(1.0, dtype=torch.float64)] * images
    for step in range(15):  # rings of four go around more than twice
        s, grad, noise = torch.randn(3, images, k, generator=generator, dtype=torch.float64)
        y = s @ hessian + 0.3 * noise
        wanted = torch.rand(images, generator=generator) < 0.7
        history.push(s, y, wanted, 1e-10)
        for i in range(images):
            if wanted[i] and s[i].dot(y[i]) > 1e-10:
                lists[i] = [*lists[i], (s[i], y[i])][-memory:]
                scales[i] = s[i].dot(y[i]) / y[i].dot(y[i])
        if step == 8:
            history.forget(torch.arange(images) == 1)
            lists[1], scales[1] = [], torch.ones_like(scales[1])
        expected = [two_loops(*each) for each in zip(lists, scales, grad, strict=True)]
        assert_close(history.direction(grad), torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_images_that_stay_keep_their_pairs():
    generator = torch.Generator().manual_seed(1)
    s, grad = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    history = History(4, 3, s)
    for factor in (1.0, 2.0, 1.5, 0.5):
        history.push(s.roll(int(2 * factor), 1), factor * s, torch.ones(4).bool(), 1e-10)
    whole = history.direction(grad)
    rows = torch.tensor([3, 1])
    history.take(rows)
    assert_close(history.direction(grad[rows]), whole[rows])


def test_without_pairs_the_direction_is_steepest_descent():
    grad = torch.randn(3, 5, generator=torch.Generator().manual_seed(2))
    history = History(3, 10, grad)
    assert_close(history.direction(grad), -grad, rtol=0, atol=0)
    history.push(grad, -grad, torch.ones(3).bool(), 1e-10)  # negative curvature
    assert_close(history.direction(grad), -grad)
