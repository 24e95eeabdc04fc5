import torch

from common.metrics.memory import SavedBytes


def test_each_storage_counts_once_and_whole():
    x = torch.ones(1000, requires_grad=True)
    weight = torch.ones(1000, requires_grad=True)
    with SavedBytes([weight]) as saved:
        y = x.exp()  # keeps y
        (y[:10] * y[20:30]).sum()  # looks into y
        y * weight  # y again, and the weight, which is excluded
    assert (saved.total, saved.count) == (4000, 1)


def test_what_is_saved_after_the_context_does_not_count():
    x = torch.ones(10, requires_grad=True)
    with SavedBytes() as saved:
        pass
    x.exp().sum().backward()
    assert saved.total == 0
    assert torch.equal(x.grad, x.detach().exp())
