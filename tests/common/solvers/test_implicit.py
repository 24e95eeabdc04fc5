import gc
import weakref

import pytest
import torch
from torch import backends

from common.solvers import NotConverged, implicit
from tests.common.solvers.maps import Counted, normal, orthogonal, saturated

# Finer than gradcheck's differences of 1e-6 can tell.
FINE = {"tol": 1e-13, "backward_tol": 1e-13, "limit": 2000}


def net(size, lipschitz):
    """Return g(w, a, b), curved and not symmetric, with slope `lipschitz` where 2 tanh is steep."""
    q = orthogonal(size, seed=1)
    return lambda w, a, b: lipschitz * 2 * torch.tanh((w @ q + b) / 2) @ a


def problem(size, lipschitz, batch=4):
    g = net(size, lipschitz)
    a, b = orthogonal(size, seed=2).requires_grad_(), (normal(size) / 5).requires_grad_()
    return g, a, b, normal(batch, size, seed=3).requires_grad_()


@pytest.fixture(params=[1, 2, 3])
def size(request):
    return request.param


@pytest.fixture(params=[0.3, 0.9, 0.95])
def lipschitz(request):
    return request.param


def test_the_equation_holds(size, lipschitz):
    g, a, b, t = problem(size, lipschitz)
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    # tol (1 + max |t|), with room for max |t| < 4.
    torch.testing.assert_close(w + g(w, a, b), t, rtol=0, atol=5e-13)


def test_gradients_are_those_of_differences(size, lipschitz):
    g, a, b, t = problem(size, lipschitz)
    assert torch.autograd.gradcheck(
        lambda t, a, b: implicit(lambda w: g(w, a, b), t, **FINE), (t, a, b)
    )


def test_the_backward_solve_is_that_of_the_dense_matrix(size, lipschitz):
    g, a, b, t = problem(size, lipschitz)
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    cotangent = normal(*t.shape, seed=4)
    got = torch.autograd.grad(w, (t, b), cotangent)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda w: g(w, a, b)))(w.detach())
    eye = torch.eye(size, dtype=torch.float64)
    # z' (I + J) = a', hence (I + J)' z = a.
    z = torch.linalg.solve((eye + jacobian).mT, cotangent)
    value = g(w.detach(), a, b)
    expected = z, torch.autograd.grad(value, b, -z)[0]
    # 1e-13 max |a| sqrt(3) / (1 - L), and four samples add up in b.
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-11)


def test_models_and_images_are_batches_and_events_like_any_other():
    g, a, b, _ = problem(3, 0.9)
    t = normal(2, 5, 3, seed=5)
    rows = implicit(lambda w: g(w, a, b), t.reshape(10, 3), **FINE)
    stacked = implicit(lambda w: g(w, a, b), t, **FINE)
    images = implicit(
        lambda w: g(w.flatten(-3), a, b).reshape(w.shape),
        t.reshape(10, 1, 1, 3),
        event_dims=3,
        **FINE,
    )
    # Two solutions within 1e-13 (1 + max |t|) / (1 - L).
    torch.testing.assert_close(stacked.reshape(10, 3), rows, rtol=0, atol=1e-11)
    torch.testing.assert_close(images.reshape(10, 3), rows, rtol=0, atol=1e-11)


def test_a_start_near_the_root_saves_evaluations_and_changes_no_result():
    g, a, b, t = problem(3, 0.95)
    f = Counted(lambda w: g(w, a, b))
    cold = implicit(f, t, **FINE)
    calls = f.calls
    warm = implicit(f, t, start=cold, **FINE)
    assert f.calls - calls <= 2 < calls  # one to see that it is solved, one for the graph
    # Both within 1e-13 (1 + max |t|) / (1 - L) of the root.
    torch.testing.assert_close(warm, cold, rtol=0, atol=1e-11)
    cotangent = normal(*t.shape, seed=4)
    slopes = [torch.autograd.grad(w, (t, a, b), cotangent) for w in (cold, warm)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-10)


def test_samples_without_a_cotangent_get_zeros_and_disturb_no_others():
    g, a, b, t = problem(3, 0.9)
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    cotangent = normal(*t.shape, seed=4)
    cotangent[1] = 0
    (z,) = torch.autograd.grad(w, t, cotangent, retain_graph=True)
    assert (z[1] == 0).all()
    assert (z[[0, 2, 3]] != 0).all()
    assert all((z == 0).all() for z in torch.autograd.grad(w, (t, a, b), torch.zeros_like(w)))


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_the_scale_of_the_loss_changes_neither_the_work_nor_the_accuracy(scale):
    g = saturated(3, 0.9)
    q = torch.eye(3, dtype=torch.float64).requires_grad_()
    t = normal(4, 3).requires_grad_()
    w = implicit(lambda w: g(w) @ q, t, tol=1e-9, backward_tol=1e-9, limit=500)
    cotangent = normal(4, 3, seed=4)
    plain = torch.autograd.grad(w, (t, q), cotangent, retain_graph=True)
    scaled = torch.autograd.grad(w, (t, q), scale * cotangent)
    # Powers of two round nothing: these are the same steps.
    for one, other in zip(scaled, plain, strict=True):
        assert torch.equal(one / scale, other)


def test_the_backward_solve_finds_no_gradient_of_weights_on_its_way():
    g, a, b, t = problem(3, 0.95)
    during, weight_gradients = [], []

    def watched(w):
        effective, hidden = 1.0 * a, 1.0 * w
        if hidden.requires_grad:
            effective.register_hook(weight_gradients.append)
            hidden.register_hook(lambda product: during.append(a.grad))
        return g(hidden, effective, b)

    w = implicit(watched, t, **FINE)
    w.sum().backward()
    assert len(during) > 5  # once for each J^T v
    assert all(gradient is None for gradient in during)
    assert len(weight_gradients) == 1
    assert a.grad is not None


def test_backward_passes_may_be_repeated_and_leave_no_graph_behind():
    g, a, b, t = problem(3, 0.9)
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    w.sum().backward(retain_graph=True)
    first = t.grad.clone()
    t.grad = None
    w.sum().backward()
    assert torch.equal(t.grad, first)


@pytest.mark.parametrize("backward", [True, False])
def test_reference_counts_alone_free_the_graph(backward):
    g, a, b, t = problem(3, 0.9)
    held = []

    def watched(w):
        hidden = 1.0 * w
        held.append(weakref.ref(hidden))
        return g(hidden, a, b)

    gc.collect()
    gc.disable()
    try:
        w = implicit(watched, t, **FINE)
        nodes = [weakref.ref(w), weakref.ref(w.grad_fn), *held]
        if backward:
            w.sum().backward()
        del w
        assert all(node() is None for node in nodes)
    finally:
        gc.enable()


def test_without_grad_mode_no_graph_is_made_and_the_value_is_the_same():
    g, a, b, t = problem(3, 0.9)
    with torch.no_grad():
        w = implicit(lambda w: g(w, a, b), t, **FINE)
    assert not w.requires_grad
    assert torch.equal(w, implicit(lambda w: g(w, a, b), t, **FINE))


def test_weights_learn_where_the_target_has_no_gradient():
    g, a, b, t = problem(3, 0.9)
    w = implicit(lambda w: g(w, a, b), t.detach(), **FINE)
    w.sum().backward()
    assert (a.grad != 0).all()


def test_an_empty_batch_has_gradients_of_zero():
    g, a, b, _ = problem(3, 0.9)
    t = torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    w.sum().backward()
    assert w.shape == t.grad.shape == (0, 3)
    assert (a.grad == 0).all()


@pytest.fixture
def tf32():
    before = backends.cuda.matmul.fp32_precision
    backends.cuda.matmul.fp32_precision = "tf32"
    yield
    backends.cuda.matmul.fp32_precision = before


@pytest.mark.usefixtures("tf32")
def test_both_solves_compute_in_full_precision():
    g, a, b, t = problem(3, 0.9)
    seen = []

    def watched(w):
        seen.append(backends.cuda.matmul.fp32_precision)
        hidden = 1.0 * w
        if hidden.requires_grad:
            hidden.register_hook(lambda product: seen.append(backends.cuda.matmul.fp32_precision))
        return g(hidden, a, b)

    w = implicit(watched, t, **FINE)
    assert set(seen) == {"ieee"}
    seen.clear()
    w.sum().backward()
    assert seen[-1] == "tf32"  # the gradients of the weights follow the user's setting
    assert set(seen[:-1]) == {"ieee"}


def test_float32_reaches_what_it_is_asked_for():
    g, a, b, t = problem(3, 0.9)
    a, b, q = a.detach().float(), b.detach().float(), t.detach().float().requires_grad_()
    single = net_of_floats(a, b)
    w = implicit(single, q, tol=1e-6, backward_tol=1e-5, limit=500)
    (z,) = torch.autograd.grad(w.sum(), q)
    fine = implicit(lambda w: g(w, a.double(), b.double()), t, **FINE)
    (exact,) = torch.autograd.grad(fine.sum(), t)
    # tol (1 + max |t|) / (1 - L) of the root, and 1e-5 / (1 - L) of the gradient.
    torch.testing.assert_close(w.double(), fine, rtol=0, atol=4e-5)
    torch.testing.assert_close(z.double(), exact, rtol=0, atol=2e-4)


def net_of_floats(a, b):
    q = orthogonal(3, seed=1).float()
    return lambda w: 0.9 * 2 * torch.tanh((w @ q + b) / 2) @ a


def test_a_failure_names_the_solve_that_failed():
    g, a, b, t = problem(3, 0.95)
    with pytest.raises(NotConverged, match="implicit, forward: solve: residual"):
        implicit(lambda w: g(w, a, b), t, tol=1e-13, backward_tol=1e-6, limit=3)
    w = implicit(lambda w: g(w, a, b), t, tol=1e-2, backward_tol=1e-30, limit=500)
    with pytest.raises(NotConverged, match="implicit, backward: solve: "):
        w.sum().backward()
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    with pytest.raises(NotConverged, match="implicit, backward: solve: residual nan"):
        (w.sum() * torch.nan).backward()


def test_gradients_of_gradients_are_refused():
    g, a, b, t = problem(3, 0.9)
    w = implicit(lambda w: g(w, a, b), t, **FINE)
    (z,) = torch.autograd.grad(w.square().sum(), t, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        z.sum().backward()
