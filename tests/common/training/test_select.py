"""Each model keeps the state of its own best step."""

import pytest
import torch

from common.training import checkpoint
from common.training.select import Best


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3, 2, 2), value), "n": torch.full((3,), int(value))}


SCORES = [[3.0, 1.0, torch.nan], [2.0, 2.0, 5.0], [2.5, 0.5, torch.inf]]


def test_each_model_keeps_its_own_best():
    best = Best(tensors(0), models=3)
    improved = [
        best.update(torch.tensor(scores), tensors(step + 1), step).tolist()
        for step, scores in enumerate(SCORES)
    ]
    assert improved == [[True, True, False], [True, False, True], [False, True, False]]
    assert best.step.tolist() == [1, 2, 1]
    assert best.score.tolist() == [2.0, 0.5, 5.0]
    assert best.state["w"][:, 0, 0].tolist() == [2, 3, 2]
    assert best.state["n"].tolist() == [2, 3, 2]


def test_one_model_is_kept_whole():
    best = Best({"w": torch.zeros(2), "count": torch.tensor(0)})
    assert best.update(torch.tensor(1.0), {"w": torch.ones(2), "count": torch.tensor(1)}, 7)
    assert not best.update(torch.tensor(1.0), {"w": torch.ones(2) * 2, "count": torch.tensor(2)}, 8)
    assert best.state["w"].tolist() == [1, 1]
    assert int(best.state["count"]) == 1
    assert int(best.step) == 7


def test_the_held_state_does_not_follow_training():
    model = torch.nn.Linear(2, 1)
    best = Best(model.state_dict())
    best.update(torch.tensor(1.0), model.state_dict(), 0)
    held = best.state["weight"].clone()
    with torch.no_grad():
        model.weight.add_(1)
    assert torch.equal(best.state["weight"], held)
    assert not best.state["weight"].requires_grad


def test_nothing_good_leaves_the_initial_state():
    best = Best(tensors(0), models=3)
    best.update(torch.full((3,), torch.nan), tensors(9), 0)
    assert best.step.tolist() == [-1, -1, -1]
    assert (best.state["w"] == 0).all()


def test_a_resumed_selection_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = Best(tensors(0), models=3)
    for step, scores in enumerate(SCORES):
        whole.update(torch.tensor(scores), tensors(step + 1), step)
    first = Best(tensors(0), models=3)
    first.update(torch.tensor(SCORES[0]), tensors(1), 0)
    checkpoint.save(tmp_path / "c.pt", {"best": first.state_dict()}, "f")
    resumed = Best(tensors(7), models=3)
    saved = checkpoint.load(tmp_path / "c.pt", "f")
    assert saved is not None
    resumed.load_state_dict(saved["best"])
    for step, scores in list(enumerate(SCORES))[1:]:
        resumed.update(torch.tensor(scores), tensors(step + 1), step)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(ValueError, match=r"'w' must have 4 models .* got shape \(3, 2, 2\)"):
        Best(tensors(0), models=4)
    best = Best(tensors(0), models=3)
    with pytest.raises(ValueError, match=r"expected scores of shape \(3,\), got \(\)"):
        best.update(torch.tensor(1.0), tensors(1), 0)
    with pytest.raises(ValueError, match=r"names differ: \['n'\]"):
        best.update(torch.ones(3), {"w": torch.zeros(3, 2, 2)}, 0)
