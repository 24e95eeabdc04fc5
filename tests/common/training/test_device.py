import pytest
import torch

from common.errors import UserError
from common.training.device import pick_device


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pretend that there are so many CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("cards", "name", "expected"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["cards"],
)
def test_a_name_gives_its_device_and_auto_a_card_where_there_is_one(name: str, expected: str):
    assert pick_device(name) == torch.device(expected)


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("cards", "name", "expected"),
    [
        (0, "cuda", "--device cuda: no CUDA device was found; use --device cpu"),
        (0, "cuda:1", "--device cuda:1: no CUDA device was found; use --device cpu"),
        (2, "cuda:2", "--device cuda:2: the last CUDA device is cuda:1; use that or cpu"),
        (2, "gpu", "--device gpu: expected auto, cpu, cuda or cuda:<number>"),
        (2, "meta", "--device meta: expected auto, cpu, cuda or cuda:<number>"),
        (2, "", "--device : expected auto, cpu, cuda or cuda:<number>"),
        (2, "cuda:x", "--device cuda:x: expected auto, cpu, cuda or cuda:<number>"),
        (2, "cuda:-1", "--device cuda:-1: expected auto, cpu, cuda or cuda:<number>"),
    ],
    indirect=["cards"],
)
def test_what_is_not_there_is_refused_in_one_sentence(name: str, expected: str):
    with pytest.raises(UserError) as error:
        pick_device(name)
    assert str(error.value) == expected
