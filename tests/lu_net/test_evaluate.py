import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from common.datasets import load
from common.datasets.dataset import Dataset
from common.datasets.mixture import GaussianMixture
from common.metrics.likelihood import bits_per_dim
from common.training.weights import write_weights
from lu_net import evaluate
from lu_net.batches import Items
from lu_net.config import Model, Train
from lu_net.evaluate import TEST, batches, per_class, score_images, score_vectors
from lu_net.model import Bank, Stack
from lu_net.protocol import Evaluate
from tests.lu_net.invented import (
    EVALUATE,
    LEVELS,
    LU_NET,
    SHAPE,
    SIZES,
    gaussian,
    images,
    model,
    points,
    write_parameters,
    write_training,
)

CPU = torch.device("cpu")
DIMS = math.prod(SHAPE)
MARGIN = 1e-5
# The digits' model of the command: as small as it gets, in the default precision.
SECTION: dict[str, Any] = {
    "model": {"kind": "lu_net", "layers": 2},
    "epochs": 2,
    "valid_per_class": 20,
}


def scored(
    bank: Bank, data: Dataset, trained: Train = LU_NET, cfg: Evaluate = EVALUATE
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metrics: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    score = score_images if data.levels else score_vectors
    score(bank, trained, cfg, data, metrics, arrays)
    return metrics, arrays


def logits(x: Tensor) -> Tensor:
    return torch.logit((1 - MARGIN) * x / LEVELS + MARGIN / 2)


def test_bits_per_dim_are_the_integral_over_the_noise():
    # Of a Gaussian with a diagonal covariance in logit space the expected score of a pixel is an
    # integral over its noise alone, done here on a fine grid.
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(3, DIMS, generator=generator, dtype=torch.float64)
    scale = 1 + torch.rand(3, DIMS, generator=generator, dtype=torch.float64)
    data = images()
    metrics, _ = scored(gaussian(mean, scale), data, cfg=Evaluate(draws=30))
    n = 20_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    x = torch.arange(LEVELS).unsqueeze(-1) + u
    t = logits(x)
    # d t / d x = (1 - a) / (levels s (1 - s)), and s (1 - s) = 1 / (2 + 2 cosh t).
    jacobian = math.log((1 - MARGIN) / LEVELS) + (2 + 2 * t.cosh()).log()
    for k, size in enumerate(SIZES):
        density = torch.distributions.Normal(mean[k][:, None, None], scale[k][:, None, None])
        bits = -(density.log_prob(t) + jacobian) / math.log(2)  # (D, levels, n)
        pixels = data.test.x[data.test.y == k].flatten(1).long()
        dims = torch.arange(DIMS)
        expected = bits.mean(-1)[dims, pixels].mean()
        variance = bits.var(-1)[dims, pixels].sum() / (size * DIMS) ** 2 / 30
        error = abs(metrics["test"]["bits_per_dim"]["per_model"][k] - expected)
        assert error < 4 * variance.sqrt()  # four standard errors over the noise


def test_a_gaussian_with_the_data_s_own_moments_scores_its_entropy():
    data = images((150,))
    x = data.test.x.flatten(1).double()
    generator = torch.Generator().manual_seed(1)
    draws = [
        logits(x + torch.rand(x.shape, generator=generator, dtype=torch.float64))
        for _ in range(100)
    ]
    everything = torch.cat(draws)
    mean, covariance = everything.mean(0), torch.cov(everything.T, correction=0)
    bank = gaussian(mean[None], torch.ones(1, DIMS, dtype=torch.float64))
    assert isinstance(bank, Stack)
    (layer,) = bank.layers()
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance))
    diagonal = inverse.diagonal()
    with torch.no_grad():
        layer.packed.copy_((inverse / diagonal).tril(-1) + diagonal.diag())
        layer.bias.copy_(-inverse @ mean)
    metrics, _ = scored(bank, data, cfg=Evaluate(draws=30))
    # h = 1/2 log2 (2 pi e) + 1/2 log2 det C / D.
    expected = 0.5 * math.log2(2 * math.pi * math.e)
    expected += 0.5 * torch.logdet(covariance).item() / (DIMS * math.log(2))
    single = [-MultivariateNormal(mean, covariance).log_prob(t).mean() for t in draws]
    error = bits_per_dim(torch.stack(single).std() / math.sqrt(30), DIMS)
    found = metrics["test"]["logit_space"]["mean"]
    assert abs(found - expected) < 4 * error  # four standard errors over the noise
    # The Gaussian fitted to the latents of such a model, on the same data, is N(0, I) again.
    same = Dataset("invented", data.test, data.test, data.test, levels=LEVELS, classes=1)
    again, _ = scored(bank, same, cfg=Evaluate(draws=30))
    refitted = again["test"]["fitted_gaussian_bits_per_dim"]["mean"]
    assert abs(refitted - again["test"]["bits_per_dim"]["mean"]) < 4 * error * math.sqrt(30)


def test_the_scales_differ_by_what_their_definitions_say():
    data = images()
    metrics, _ = scored(model(LU_NET, data), data)
    test = metrics["test"]
    items = Items.of(data, data.test, True, CPU)
    rows = []
    for draw in range(EVALUATE.draws):
        ((x, _),) = batches(items, LU_NET, EVALUATE.seed, TEST, draw)
        s = (1 - MARGIN) * x.flatten(2) / LEVELS + MARGIN / 2
        jacobian = (s.log2() + (1 - s).log2()).mean(-1)
        rows.append(math.log2(LEVELS) + jacobian - math.log2(1 - MARGIN))
    offset = [torch.stack(rows)[:, k, :n].mean().item() for k, n in enumerate(SIZES)]
    for k in range(len(SIZES)):
        bits, h, lu_net, realnvp = (
            test[name]["per_model"][k]
            for name in ("bits_per_dim", "logit_space", "lu_net_units", "realnvp_units")
        )
        assert bits - h == pytest.approx(offset[k])
        assert lu_net == pytest.approx(h - 0.5)
        assert realnvp == pytest.approx(h + math.log2(255))
    for name in ("lu_net_units", "realnvp_units"):
        assert test[name]["se"] == pytest.approx(test["logit_space"]["se"])


def test_draws_are_averaged_before_items_and_items_before_models():
    values = torch.tensor(
        [
            [[1.0, 2.0, 6.0], [4.0, 8.0, 1e9]],
            [[3.0, 2.0, 4.0], [6.0, 6.0, 1e9]],
        ],
        dtype=torch.float64,
    )
    found = per_class(values, (3, 2))
    # Items of model 0 average to 2, 2, 5 over the draws; those of model 1 to 5 and 7.
    assert found["per_model"] == [3.0, 6.0]
    errors = [math.sqrt(3) / math.sqrt(3), math.sqrt(2) / math.sqrt(2)]
    assert found["per_model_se"] == pytest.approx(errors)
    assert found["mean"] == 4.5
    assert found["se"] == pytest.approx(math.sqrt(errors[0] ** 2 + errors[1] ** 2) / 2)


def test_the_padding_of_smaller_classes_never_counts():
    data = images()
    bank = model(LU_NET, data)
    metrics, arrays = scored(bank, data)
    assert metrics["test"]["items"] == list(SIZES)
    assert len(arrays["latents"]) == sum(SIZES) * DIMS
    draws = []
    for draw in range(EVALUATE.draws):
        items = Items.of(data, data.test, True, CPU)
        ((x, _),) = batches(items, LU_NET, EVALUATE.seed, TEST, draw)
        draws.append(-bank.log_prob(x).detach() / (DIMS * math.log(2)))
    bits = torch.stack(draws).mean(0)
    means = [bits[k, :n].mean().item() for k, n in enumerate(SIZES)]
    errors = [(bits[k, :n].std() / math.sqrt(n)).item() for k, n in enumerate(SIZES)]
    found = metrics["test"]["bits_per_dim"]
    assert found["per_model"] == pytest.approx(means)
    assert found["per_model_se"] == pytest.approx(errors)
    assert found["mean"] == pytest.approx(sum(means) / 3)
    # The train split is scored up to `train_items` of a class.
    limited = scored(bank, data, cfg=Evaluate(train_items=100))[0]["train"]["bits_per_dim"]
    assert metrics["train"]["bits_per_dim"]["per_model"] != limited["per_model"]


def test_chunks_score_all_items_once(monkeypatch: pytest.MonkeyPatch):
    data = images()
    items = Items.of(data, data.test, True, CPU)
    monkeypatch.setattr(evaluate, "CHUNK", 4)
    parts = list(batches(items, LU_NET, 1, TEST))
    assert [x.shape[1] for x, _ in parts] == [4, 4, 1]
    x, weight = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    assert torch.equal(x.floor().to(torch.uint8), items.x)
    assert torch.equal(weight, items.weights)
    noise = x - x.floor()
    assert len(noise.unique()) == noise.numel()


def test_points_are_scored_beside_the_true_density():
    data, truth = points(), GaussianMixture.published()
    trained = Train(Model("lu_net", per_class=False, layers=2), dtype="float64")
    bank = model(trained, data)
    metrics, arrays = scored(bank, data, trained)
    nats = -bank.log_prob(data.test.x[None]).detach()[0]
    true_nats = -truth.log_prob(data.test.x)
    test, n = metrics["test"], len(nats)
    assert test["nats"]["mean"] == pytest.approx(nats.mean().item())
    assert test["true_nats"]["mean"] == pytest.approx(true_nats.mean().item())
    excess = nats - true_nats
    assert test["excess_over_truth"]["mean"] == pytest.approx(excess.mean().item())
    assert test["excess_over_truth"]["se"] == pytest.approx((excess.std() / math.sqrt(n)).item())
    assert metrics["entropy"] == pytest.approx(truth.entropy())
    assert arrays["latents"].shape == (n, 2)


@pytest.fixture
def trained(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder where the command finds parameters, digits and a training's results."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(raw)
    write_parameters(tmp_path, SECTION)
    write_training(tmp_path, digits_model(tmp_path / "data/raw"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/fast/lu_net/digits/lu_net"


def digits_model(raw: Path) -> Bank:
    return model(Train(Model("lu_net", layers=2)), load("digits", raw))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, bytes]:
    """Run the command; return the files that it wrote."""
    command = ["evaluate", "--dataset", "digits", "--method", "lu_net", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    evaluate.main()
    scores = Path("results/fast/lu_net/scores/digits/lu_net")
    return {path.name: path.read_bytes() for path in scores.iterdir()}


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


@pytest.mark.usefixtures("trained")
def test_a_second_evaluation_writes_the_same_bytes(monkeypatch: pytest.MonkeyPatch):
    first = run(monkeypatch)
    assert set(first) == {"metrics.json", "arrays.npz"}
    # An archive that recorded the time of writing would differ a day later.
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(now + 86_400))
    assert run(monkeypatch) == first

    metrics = json.loads(first["metrics.json"])
    assert metrics["training"]["status"] == "finished"
    assert metrics["certificate"]["round_trip"]["float64"]["max"] < 1e-10
    with np.load("results/fast/lu_net/scores/digits/lu_net/arrays.npz") as arrays:
        assert arrays["samples_standard"].shape == (10, 3, 1, 8, 8)
        assert arrays["samples_standard"].dtype == np.uint8
        expected = [[1, 7, 0.001, 2, np.nan], [2, 14, 0.001, 1, 1.5]]
        np.testing.assert_array_equal(arrays["curve"], expected)


def test_a_model_that_is_not_finite_is_reported_as_such(
    trained: Path, monkeypatch: pytest.MonkeyPatch
):
    bank = digits_model(Path("data/raw"))
    assert isinstance(bank, Stack)
    with torch.no_grad():
        bank.layers()[0].packed[3, 0, 0] = torch.nan
    write_weights(trained / "weights.pt", bank.tensors(), {"models": bank.models})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    metrics = json.loads(run(monkeypatch)["metrics.json"], parse_constant=refuse)
    for name in ("bits_per_dim", "lu_net_units", "fitted_gaussian_bits_per_dim"):
        test = metrics["test"][name]
        assert test["mean"] == "not finite"
        assert test["per_model"][3] == "not finite"
        others = [bits for k, bits in enumerate(test["per_model"]) if k != 3]
        assert all(isinstance(bits, float) for bits in others)
    assert metrics["certificate"]["smallest_abs_diagonal"] == "not finite"
    assert "moves by nan" in metrics["certificate"]["round_trip"]["float32"]["error"]
    assert set(metrics["decoding_failures"]) == {
        "samples_standard",
        "samples_fitted",
        "interpolation",
    }


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("weights.pt", "no weights there"),
        ("status.json", "not found; train this model first"),
        ("curve.csv", "not found; train this model first"),
    ],
)
def test_a_missing_file_is_named_in_one_sentence(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    what: str,
):
    (trained / name).unlink()
    # After the scores, an error would cost minutes.
    monkeypatch.setattr(evaluate, "score_images", lambda *_: pytest.fail("scored before"))
    text = refused(monkeypatch, capsys)
    assert name in text
    assert what in text
    assert not Path("results/fast/lu_net/scores").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("status.json", b"{"),
        ("status.json", b"[1]"),
        ("curve.csv", b"epoch\n1,x\n"),
        ("curve.csv", b"epoch\n1,2\n"),
        ("curve.csv", b"\xff"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
):
    (trained / name).write_bytes(content)
    text = refused(monkeypatch, capsys)
    assert f"{name}: damaged; train this model again" in text


@pytest.mark.parametrize("other", [{"layers": 3}, {"layers": 2, "per_class": False}])
def test_the_weights_of_another_model_are_refused(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    other: dict[str, Any],
):
    write_parameters(Path(), {**SECTION, "model": {"kind": "lu_net", **other}})
    text = refused(monkeypatch, capsys)
    assert f"{trained.name}/weights.pt: not the weights of the model that the parameters" in text


def test_an_empty_curve_is_one_of_no_epochs(tmp_path: Path):
    (tmp_path / "curve.csv").write_text("epoch,step,lr,train,select\n")
    assert evaluate.read_curve(tmp_path).shape == (0, 5)


def test_latents_of_a_large_split_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch):
    data = images()
    _, full = scored(model(LU_NET, data), data)
    monkeypatch.setattr(evaluate, "COORDINATES", 20)
    _, thinned = scored(model(LU_NET, data), data)
    step = len(full["latents"]) // 20
    assert torch.equal(thinned["latents"], full["latents"][::step])
    assert 20 <= len(thinned["latents"]) < 40


def test_a_split_of_one_class_scores_as_one_model():
    data = images((6, 4))
    trained = Train(Model("lu_net", per_class=False, layers=2), dtype="float64")
    metrics, arrays = scored(model(trained, data), data, trained)
    assert metrics["test"]["items"] == [10]
    assert len(metrics["test"]["bits_per_dim"]["per_model"]) == 1
    assert arrays["test"].shape == (1, 4, *SHAPE)
