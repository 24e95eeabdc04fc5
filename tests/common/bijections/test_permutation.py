import pytest
import torch

from common.bijections.permutation import Permutation


def test_each_feature_comes_from_where_the_permutation_says():
    x = torch.tensor([[10.0, 20.0, 30.0]])
    z, logdet = Permutation(torch.tensor([2, 0, 1]))(x)
    assert z.tolist() == [[30.0, 10.0, 20.0]]
    assert logdet.tolist() == [0.0]


def test_images_have_their_channels_permuted_and_their_pixels_kept():
    x = torch.arange(24.0).reshape(2, 3, 2, 2)
    z, _ = Permutation(torch.tensor([2, 0, 1]), event_dims=3)(x)
    assert torch.equal(z, x[:, [2, 0, 1]])


def test_a_loaded_permutation_is_the_saved_one():
    first = Permutation.random(20, torch.Generator().manual_seed(0))
    other = Permutation.random(20, torch.Generator().manual_seed(1))
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(first(x)[0], other(x)[0])
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(x)[0], other(x)[0])
    assert torch.equal(other.inverse(other(x)[0]), x)


@pytest.mark.parametrize("wrong", [[0, 0, 1], [1, 2, 3], [[0, 1], [1, 0]]])
def test_what_is_no_permutation_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected each of 0 \.\.\. \d once"):
        Permutation(torch.tensor(wrong))
