"""Figures from invented results: every promised file, failures said, wrong input refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from common.datasets.mixture import GaussianMixture
from common.errors import UserError
from lu_net import draw_images, draw_mixture, draw_scores
from lu_net.config import Model, Train
from lu_net.figures import draw
from lu_net.protocol import Evaluate
from lu_net.results import Result, read_results
from lu_net.train import CURVE

MODELS = 3
PARAMETERS = """
datasets: [mixture, digits]
methods: [realnvp]
train:
  mixture: &train
    realnvp: {model: {kind: realnvp, scaled_down: 8 planes instead of 64}, epochs: 5}
  digits: *train
evaluate:
  mixture: &evaluate {realnvp: {draws: 2}}
  digits: *evaluate
"""


def summary(value: float) -> dict[str, Any]:
    return {
        "mean": value,
        "se": 0.01,
        "per_model": [value - 0.1, value, value + 0.1],
        "per_model_se": [0.02] * MODELS,
    }


def image_result(
    method: str = "lu_net", bits: float = 2.0, epochs: int = 5, **model: Any
) -> Result:
    rng = np.random.default_rng(0)
    kind = method.removesuffix("_published")
    test = rng.integers(0, 17, (MODELS, 10, 1, 8, 8)).astype(np.uint8)
    line = np.stack([test[:, 0], test[:, 1], np.roll(test[:, 0], -1, 0)], 1)
    scores = {key: summary(bits) for key in ("bits_per_dim", "fitted_gaussian_bits_per_dim")}
    return Result(
        method=method,
        trained=Train(model=Model(kind=kind), epochs=epochs),
        evaluated=Evaluate(),
        metrics={
            "test": {**scores, "items": [10, 11, 12]},
            "training": {
                "status": "finished",
                "epochs": 5,
                "epochs_run": 3,
                "best_epoch": [1, 2, 2],
            },
            "decoding_failures": {},
        },
        arrays={
            "test": test,
            "samples_standard": test,
            "samples_fitted": test,
            "interpolation": line,
            "latents": rng.standard_normal(200).astype(np.float32),
        },
        curve={k: np.array([1.0, 2.0, 3.0]) for k in ("epoch", "step", "lr", "train", "select")},
    )


def vector_result(method: str = "lu_net") -> Result:
    result = image_result(method)
    truth = GaussianMixture.published()
    x, y = np.linspace(-11.9, -0.1, 6), np.linspace(-9.9, 5.9, 8)
    log_density = np.log(np.outer(1 + np.arange(6), 1 + np.arange(8)) / 100)
    result.metrics["entropy"] = 1.005
    for key in ("nats", "true_nats", "excess_over_truth"):
        result.metrics["test"][key] = summary(1.0)
    points = np.repeat(truth.centres.numpy(), 5, 0)
    result.arrays.clear()
    result.arrays.update(
        data=points,
        samples=points.copy(),
        latents=np.random.default_rng(1).standard_normal((20, 2)),
        grid_x=x,
        grid_y=y,
        log_density=log_density,
        true_log_density=log_density - 1,
    )
    return result


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Catch the figures in place of saving them."""
    figures: dict[str, Figure] = {}
    for module in (draw_images, draw_mixture, draw_scores):
        monkeypatch.setattr(module, "save", lambda f, stem: figures.__setitem__(stem.name, f))
    return figures


def words(figure: Figure) -> str:
    found = [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title)]
    for ax in figure.axes:
        if legend := ax.get_legend():
            found += [text.get_text() for text in legend.get_texts()]
    return " | ".join(found).replace("\n", " ")


def write(result: Result, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(result.metrics), encoding="utf-8")
    curve = np.stack([result.curve[key] for key in CURVE], 1)
    np.savez_compressed(folder / "arrays.npz", **result.arrays, curve=curve)  # type: ignore[arg-type]


def parameters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "conf" / "lu_net").mkdir(parents=True)
    (folder / "conf" / "lu_net" / "fast.yaml").write_text(PARAMETERS, encoding="utf-8")
    monkeypatch.chdir(folder)


@pytest.mark.slow
def test_every_figure_of_a_profile_is_drawn_twice_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parameters(tmp_path, monkeypatch)
    write(vector_result("realnvp"), tmp_path / "scores" / "mixture" / "realnvp")
    write(image_result("realnvp"), tmp_path / "scores" / "digits" / "realnvp")
    target = tmp_path / "figures"
    first: dict[str, bytes] = {}
    for _ in range(2):
        draw(tmp_path, "fast", ["mixture", "digits"], ["realnvp"])
        files = {path.name: path.read_bytes() for path in sorted(target.iterdir())}
        first = first or files
        assert files == first
    stems = ["mixture_density", "mixture_samples", "mixture_latents", "curves_mixture"]
    stems += [f"{s}_digits" for s in ("nll", "samples", "interpolation", "latents", "curves")]
    expected = {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}
    assert set(first) == expected | {"index.json"}
    index = json.loads(first["index.json"])
    assert [Path(entry["file"]).stem for entry in index] == stems
    for entry in index:
        assert entry["title"]
        assert entry["alt"]
        assert "RealNVP is scaled down: 8 planes instead of 64." in entry["caption"]


def test_a_missing_result_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parameters(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"metrics\.json: not found; train and evaluate realnvp on"):
        read_results(tmp_path, "fast", "digits", ["realnvp"])
    write(image_result("realnvp"), tmp_path / "digits" / "realnvp")
    (tmp_path / "digits" / "realnvp" / "arrays.npz").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"arrays\.npz: not readable .*evaluate realnvp on digits"):
        read_results(tmp_path, "fast", "digits", ["realnvp"])


def test_the_true_and_the_own_density_share_scale_and_orientation(tmp_path: Path, drawn):
    result = vector_result()
    draw_mixture.density([result], tmp_path)
    panels = drawn["mixture_density"].axes[:4]
    true, own, _, own_log = [ax.collections[0] for ax in panels]
    assert true.get_clim() == own.get_clim() == (0, pytest.approx(0.48 / np.e))
    # A row of the picture is a value of y, a row of the array one of x.
    np.testing.assert_allclose(own.get_array(), np.exp(result.arrays["log_density"]).T)
    np.testing.assert_allclose(own_log.get_array(), result.arrays["log_density"].T)
    assert "excess 1.000 ± 0.020" in words(drawn["mixture_density"])
    assert "highest value 0.48" in words(drawn["mixture_density"])


def test_samples_between_the_blobs_and_broken_ones_are_counted(tmp_path: Path, drawn):
    result = vector_result()
    result.arrays["samples"][:5] = [-6.0, 0.0]  # the first centre is the top one
    result.arrays["samples"][5:7] = np.nan
    result.metrics["decoding_failures"] = {"samples": "inverse: residual too large"}
    draw_mixture.samples([result], tmp_path)
    text = words(drawn["mixture_samples"])
    assert "in the blobs: 25, 25, 25, 25% in none: 0.0%, off the axes: 0.0%" in text
    assert "residual too large in the blobs: 0, 25, 15, 25% in none: 35.0%, off" in text
    assert "off the axes: 10.0%" in text


def test_pixel_values_fill_the_range_of_brightness():
    values = np.array([0, 8, 16], np.uint8)
    assert draw_images.brightness(values, 17).tolist() == [0, 128, 255]
    assert draw_images.brightness(np.array([0, 255], np.uint8), 256).tolist() == [0, 255]


def test_samples_stand_in_the_column_of_their_class_under_their_heading(tmp_path: Path, drawn):
    result = image_result()
    classes = np.arange(MODELS, dtype=np.uint8).reshape(-1, 1, 1, 1, 1)
    result.arrays["samples_standard"] = np.broadcast_to(classes, (MODELS, 10, 1, 8, 8))
    result.metrics["decoding_failures"] = {"samples_fitted": "34 values are not finite"}
    draw_images.samples([result], "digits", 17, tmp_path)
    figure = drawn["samples_digits"]
    sheet = np.asarray(figure.axes[0].images[0].get_array())[..., 0]
    # 8 pixels and 1 between them; rows: heading, 4 real, heading, 4 sampled.
    assert sheet.shape == (10 * 9 + 1, 7 * 9 + 1)
    assert sheet[6 * 9 + 5, [5, 14, 23, 32]].tolist() == [0, 16, 32, 255]
    assert "LU-Net, maximum likelihood: N(0, I), 2.000 bits/dim" in words(figure)
    assert "2.000 bits/dim (34 values are not finite)" in words(figure)


def test_an_interpolation_says_by_how_much_its_ends_miss_the_images(tmp_path: Path, drawn):
    exact, wrong = image_result("lu_net"), image_result("realnvp")
    wrong.arrays["interpolation"][1, -1] = 16 - wrong.arrays["test"][2, 0]
    error = np.abs(16 - 2 * wrong.arrays["test"][2, 0].astype(int)).max()
    draw_images.interpolation([exact, wrong], "digits", 17, tmp_path)
    text = words(drawn["interpolation_digits"])
    assert "LU-Net, maximum likelihood. Ends are the real images, exactly" in text
    assert f"RealNVP. Ends miss the real images by {error}" in text


def test_a_diverged_training_says_so_on_every_figure_of_it(tmp_path: Path, drawn):
    result = image_result()
    result.metrics["training"]["status"] = "diverged"
    draw_images.samples([result], "digits", 17, tmp_path)
    for figure in (draw_scores.nll, draw_scores.curves, draw_scores.latents):
        figure([result], "digits", tmp_path)
    assert len(drawn) == 4
    for figure in drawn.values():
        assert "diverged after epoch 3 of 5" in words(figure)


def test_scores_far_from_the_best_get_a_close_up_without_them(tmp_path: Path, drawn):
    broken = image_result("realnvp")
    broken.metrics["test"]["bits_per_dim"] = {
        **summary(0.0),
        "mean": "not finite",
        "per_model": ["not finite"] * MODELS,
    }
    results = [image_result("gaussian"), image_result("lu_net_published", bits=7.0), broken]
    draw_scores.nll(results, "digits", tmp_path)
    text = words(drawn["nll_digits"])
    assert "Close-up without LU-Net, published objective, RealNVP" in text
    assert "RealNVP: mean not finite" in text
    assert len(drawn["nll_digits"].axes[1].containers) == 1


def test_the_published_loss_is_not_drawn_on_the_scale_of_the_scores(tmp_path: Path, drawn):
    gaussian, own = image_result("gaussian", epochs=0), image_result("lu_net", bits=1.9)
    published = image_result("lu_net_published")
    object.__setattr__(published.trained, "objective", "published")
    draw_scores.curves([gaussian, own, published], "digits", tmp_path)
    labels = [[line.get_label() for line in ax.lines] for ax in drawn["curves_digits"].axes]
    assert labels[0] == [
        "training",
        "validation",
        "epoch kept: 1 to 2",
        "test, kept model: 1.900",
        "test, Gaussian, closed form: 2.000",
    ]
    assert "training" not in labels[1]
