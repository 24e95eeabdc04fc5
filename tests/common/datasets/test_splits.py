import pytest
import torch

from common.datasets.splits import stratified

Y = torch.randint(4, (500,), generator=torch.Generator().manual_seed(0))


def test_rest_and_chosen_are_disjoint_sorted_and_complete():
    rest, chosen = stratified(Y, torch.full((4,), 30), seed=1)
    assert torch.equal(torch.cat([rest, chosen]).sort().values, torch.arange(500))
    assert rest.diff().min() > 0
    assert chosen.diff().min() > 0


def test_each_class_gives_its_count():
    counts = torch.tensor([0, 5, 30, int((Y == 3).sum())])
    _, chosen = stratified(Y, counts, seed=1)
    assert torch.equal(Y[chosen].bincount(minlength=4), counts)


def test_the_seed_alone_decides():
    counts = torch.full((4,), 30)
    torch.manual_seed(0)
    first = stratified(Y, counts, seed=1)[1]
    torch.manual_seed(7)
    assert torch.equal(first, stratified(Y, counts, seed=1)[1])
    assert not torch.equal(first, stratified(Y, counts, seed=2)[1])


@pytest.mark.parametrize("count", [-1, 501])
def test_an_impossible_count_is_refused(count):
    with pytest.raises(ValueError, match=r"class 0: expected 0 to \d+ items to choose"):
        stratified(Y, torch.tensor([count, 0, 0, 0]), seed=1)
