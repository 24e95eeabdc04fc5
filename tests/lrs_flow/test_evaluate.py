import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.errors import UserError
from common.flows.bank import Bank
from common.training.weights import write_weights
from lrs_flow import evaluate
from lrs_flow.config import Model, Train
from lrs_flow.evaluate import certify, draw_images, item_nats, likelihood, summary
from lrs_flow.model import build
from lrs_flow.protocol import Evaluate
from tests.lrs_flow.small import COUPLING, IMAGE, IMAGES, LEVELS, images, model, vectors

CPU = torch.device("cpu")
NAN = math.nan
TRAINED = Train(COUPLING, dtype="float64")
OF_IMAGES = Train(IMAGES, dtype="float64")


def scored(
    bank: Bank, folds: list[Dataset], trained: Train, cfg: Evaluate
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metrics: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    likelihood(bank, trained, cfg, folds, metrics, arrays)
    return metrics, arrays


# Means and errors


def test_models_that_share_items_are_averaged_before_the_error_over_items():
    values = torch.tensor([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]], dtype=torch.float64)
    found = summary(values, cross_validated=False)
    assert found["per_model"] == [3.0, 5.0]
    assert found["mean"] == 4.0
    # Both models' deviations from their mean are -2, -1 and 3: variance 14 / 2, error sqrt(7 / 3).
    assert found["per_model_se"] == pytest.approx([math.sqrt(7 / 3)] * 2)
    assert found["se_items"] == pytest.approx(math.sqrt(7 / 3))
    # Items average to 2, 3 and 7, with the same deviations.
    assert found["se"] == pytest.approx(math.sqrt(7 / 3))
    assert found["sd_models"] == pytest.approx(math.sqrt(2))
    assert found["items"] == [3, 3]


def test_averaging_over_models_takes_out_what_they_do_not_share():
    opposed = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    found = summary(opposed, cross_validated=False)
    assert found["se"] == 0
    assert found["se_items"] == pytest.approx(1)


def test_folds_have_items_of_their_own_and_the_error_is_that_between_them():
    values = torch.tensor([[1.0, 3.0, 5.0], [5.0, 7.0, NAN], [9.0, 9.0, 9.0]]).double()
    found = summary(values, cross_validated=True)
    assert found["per_model"] == [3.0, 6.0, 9.0]
    assert found["items"] == [3, 2, 3]
    assert found["mean"] == 6.0  # folds count alike, whatever their size
    assert found["sd_models"] == pytest.approx(3)
    assert found["se"] == pytest.approx(3 / math.sqrt(3))
    errors = [2 / math.sqrt(3), math.sqrt(2) / math.sqrt(2), 0.0]
    assert found["per_model_se"] == pytest.approx(errors)
    assert found["se_items"] == pytest.approx(sum(errors) / 3)


def test_a_single_model_has_no_deviation_between_models():
    found = summary(torch.tensor([[1.0, 3.0]]).double(), cross_validated=False)
    assert math.isnan(found["sd_models"])
    assert found["se"] == pytest.approx(1)


# Items


def test_vectors_score_their_log_likelihood_in_nats():
    data = vectors()
    bank = model(COUPLING, data, 2)
    metrics, arrays = scored(bank, [data], TRAINED, Evaluate())
    assert metrics["unit"] == "nats"
    for split in ("train", "valid", "test"):
        x = getattr(data, split).x
        expected = bank.log_prob(x.expand(2, -1, -1)).detach()
        assert metrics[split]["per_model"] == pytest.approx(expected.mean(-1).tolist())
        assert metrics[split]["items"] == [len(x)] * 2
    torch.testing.assert_close(arrays["test"], expected.float())


def test_a_fold_with_fewer_items_is_padded_by_nan():
    folds = [vectors((9, 4, n), seed=k) for k, n in enumerate((5, 3))]
    bank = model(COUPLING, folds[0], 2)
    metrics, arrays = scored(bank, folds, TRAINED, Evaluate())
    assert metrics["test"]["items"] == [5, 3]
    assert arrays["test"].isnan().tolist() == [[False] * 5, [False] * 3 + [True] * 2]
    for k, fold in enumerate(folds):
        expected = bank.log_prob(fold.test.x.expand(2, -1, -1))[k].mean().item()
        assert metrics["test"]["per_model"][k] == pytest.approx(expected)


def test_an_item_without_a_score_is_not_left_out(monkeypatch: pytest.MonkeyPatch):
    data = vectors()
    bank = model(COUPLING, data, 2)
    exact = bank.log_prob

    def broken(x: Tensor) -> Tensor:
        found = exact(x).clone()
        found[1, 2] = NAN
        return found

    monkeypatch.setattr(bank, "log_prob", broken)
    metrics, arrays = scored(bank, [data], TRAINED, Evaluate())
    assert arrays["test"][1, 2] == -math.inf
    assert metrics["test"]["items"] == [7, 7]
    assert math.isfinite(metrics["test"]["per_model"][0])
    assert metrics["test"]["per_model"][1] == -math.inf


def test_limits_take_the_first_items_of_a_split():
    data = vectors()
    bank = model(COUPLING, data, 2)
    trained = Train(COUPLING, dtype="float64", valid_items=5)
    full, _ = scored(bank, [data], TRAINED, Evaluate())
    few, arrays = scored(bank, [data], trained, Evaluate(test_items=4, train_items=6))
    assert [few[split]["items"][0] for split in ("train", "valid", "test")] == [6, 5, 4]
    assert few["test"]["per_model"] != full["test"]["per_model"]
    torch.testing.assert_close(
        arrays["test"], bank.log_prob(data.test.x[:4].expand(2, -1, -1)).detach().float()
    )


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Return all that any bank is asked to score."""
    seen: list[Tensor] = []
    exact = Bank.log_prob

    def log_prob(self: Bank, x: Tensor) -> Tensor:
        seen.append(x)
        return exact(self, x)

    monkeypatch.setattr(Bank, "log_prob", log_prob)
    return seen


def test_methods_are_scored_on_the_same_items_with_the_same_noise(spied: list[Tensor]):
    seen, data, cfg = spied, images(), Evaluate(draws=3)
    other = Model("affine", steps=2, levels=1, hidden=4)
    for method in (IMAGES, other):
        scored(model(method, data, 2), [data], Train(method, dtype="float64"), cfg)
    half = len(seen) // 2
    assert half == 3 + 1 + 1
    for ours, theirs in zip(seen[:half], seen[half:], strict=True):
        assert torch.equal(ours, theirs)
    for x in seen[:3]:
        assert torch.equal(x.floor().to(torch.uint8), data.test.x.expand(2, -1, -1, -1, -1))
    assert len({float(x.sum()) for x in seen[:3]}) == 3  # each draw has noise of its own


def test_images_score_bits_per_dimension_averaged_over_draws(spied: list[Tensor]):
    data = images()
    bank = model(IMAGES, data, 2)
    metrics, arrays = scored(bank, [data], OF_IMAGES, Evaluate(draws=3))
    assert metrics["unit"] == "bits/dim"
    nats = -torch.stack([bank.log_prob(x).detach() for x in spied[:3]]).mean(0)
    bits = nats / (math.prod(IMAGE) * math.log(2))
    torch.testing.assert_close(arrays["test"], bits.float())
    assert metrics["test"]["per_model"] == pytest.approx(bits.mean(-1).tolist())


def test_chunks_score_all_items_once(monkeypatch: pytest.MonkeyPatch):
    data = vectors()
    bank = model(COUPLING, data, 2)
    whole = item_nats(bank, TRAINED, Evaluate(), [data], "train", None, 1)
    monkeypatch.setattr(evaluate, "CHUNK", 7)
    pieces = item_nats(bank, TRAINED, Evaluate(), [data], "train", None, 1)
    torch.testing.assert_close(pieces, whole)


# Samples and certificates


def test_samples_are_pixel_values_at_any_temperature():
    bank = model(IMAGES, images(), 2)
    with torch.no_grad():  # latents far out, so that values leave [0, levels)
        for flow in bank.each:
            for name, parameter in flow.named_parameters():
                if name.endswith("log_scale"):
                    parameter.sub_(2)
    arrays: dict[str, Tensor] = {}
    draw_images(bank, Evaluate(samples=20), LEVELS, arrays)
    assert set(arrays) == {"samples_0.5", "samples_0.75", "samples_1"}
    for samples in arrays.values():
        assert samples.dtype == torch.uint8
        assert samples.shape == (20, *IMAGE)
        assert samples.min() == 0
        assert samples.max() == LEVELS - 1
    again: dict[str, Tensor] = {}
    draw_images(bank, Evaluate(samples=20), LEVELS, again)
    assert all(torch.equal(again[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize(
    ("trained", "data", "count"), [(TRAINED, vectors(), 2 * 3), (OF_IMAGES, images(), 2 * 3)]
)
def test_the_certificate_of_a_good_model_is_exact(trained: Train, data: Dataset, count: int):
    bank = model(trained.model, data, 2)
    found = certify(bank, trained, Evaluate(certified=5, jacobians=3), [data])
    # Slopes of 1e-3 may follow on each other.
    assert found["round_trip"]["float64"]["max"] < 1e-9
    assert found["round_trip"]["float32"]["median"] < 1e-4
    assert found["logdet"]["items"] == count
    assert found["logdet"]["max_error"] < 1e-9
    assert "density" not in found
    few = certify(bank, trained, Evaluate(certified=5, jacobians=0), [data])
    assert few["logdet"] == {"items": 0}
    assert few["round_trip"] == found["round_trip"]


def test_a_density_of_the_plane_integrates_to_one(monkeypatch: pytest.MonkeyPatch):
    data = vectors(features=2)
    torch.manual_seed(0)
    bank = build(COUPLING, (2,), None, 2, 0).double()
    bank.eval()
    plain = evaluate.certificate
    monkeypatch.setattr(
        evaluate, "certificate", lambda *args, **options: plain(*args, n=100, **options)
    )
    found = certify(bank, TRAINED, Evaluate(certified=5), [data])
    # The midpoint rule on 100 cells along each axis.
    assert found["density"]["integral"] == pytest.approx(1, abs=0.01)
    square = Train(Model("lrs", steps=1, tails=False, linear=False), dtype="float64")
    assert "density" not in certify(
        model(square.model, data, 1), square, Evaluate(certified=2), [data]
    )


# Weights


@pytest.mark.parametrize("models", [1, 3])
def test_the_weights_of_another_number_of_models_are_refused(tmp_path: Path, models: int):
    data = images()
    write_weights(tmp_path / "weights.pt", model(IMAGES, data, 2).tensors(), {"models": 2})
    other = Train(IMAGES, models=models)
    with pytest.raises(UserError, match="not the weights of the model"):
        evaluate.restore(tmp_path, other, [data], CPU)


def test_weights_come_back_as_they_were_trained(tmp_path: Path):
    data = vectors()
    bank = model(COUPLING, data, 2)
    write_weights(tmp_path / "weights.pt", bank.tensors(), {"models": 2})
    cfg = Train(COUPLING, models=2, dtype="float64")
    again = evaluate.restore(tmp_path, cfg, [data], CPU)
    assert not again.training
    # The permutations are those of the seed, here as there.
    x = data.test.x.expand(2, -1, -1)
    assert torch.equal(again.log_prob(x), bank.log_prob(x))
