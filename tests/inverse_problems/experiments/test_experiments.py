"""Experiments: which problems they pose, what they write, and that nothing finished is lost."""

import dataclasses
import math

import pytest
import torch

from inverse_problems.experiments.compressed import compressed
from inverse_problems.experiments.config import (
    Bound,
    Compressed,
    Denoising,
    Inpainting,
    Landscape,
    Method,
    Norms,
    Representation,
    Smoothness,
    Starts,
)
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.images import denoising, inpainting, representation
from inverse_problems.experiments.latents import landscape, norms, smoothness, starts
from inverse_problems.experiments.linear import bound
from inverse_problems.experiments.solved import Weight
from tests.inverse_problems.experiments.conftest import IMAGES, Exact, images

COMMON = {"trained": "digits", "images": IMAGES, "method": Method(prior="glow")}
SETS = ("digits", "patches")


def test_compressed_sensing_measures_the_same_images_for_every_m_and_draw(
    context: Context, exact: Exact
):
    cfg = Compressed(sets=SETS, ratios=(1.0, 0.25), draws=3, **COMMON)
    metrics, arrays = compressed(cfg, context)
    assert [cell["at"] for cell in metrics["cells"]] == [
        {"set": name, "m": m, "ratio": m / 64} for name in SETS for m in (64, 16)
    ]
    assert arrays["psnr"].shape == (4, 3, IMAGES)
    assert arrays["shown"].shape == (4, 12, 1, 8, 8)
    cell = metrics["cells"][1]
    values = arrays["psnr"][1]
    assert cell["psnr"]["mean"] == pytest.approx(values.mean().item())
    assert cell["psnr"]["se"] == pytest.approx(values.mean(0).std().item() / math.sqrt(IMAGES))
    assert cell["psnr"]["se_seeds"] == pytest.approx(values.mean(1).std().item() / math.sqrt(3))
    assert (cell["draws"], cell["images"], cell["failed"]) == (3, IMAGES, 0)
    # Each draw has a matrix and noise of its own, of the published law.
    one, two = exact.asked[3], exact.asked[4]
    assert one["y"].shape == (IMAGES, 16)
    x = images("digits").x
    noises = [a["y"] - a["operator"](x) for a in (one, two)]
    assert not torch.equal(*noises)
    assert noises[0].std().item() == pytest.approx(0.1 / 4, rel=0.2)
    assert one["sigma"] == 0.1 / 4


def test_latents_are_weighed_as_the_noise_implies_where_that_is_asked_for(
    context: Context, exact: Exact
):
    cfg = Compressed(sets=("digits",), ratios=(1.0, 0.25), noise=0.2, derived=True, **COMMON)
    compressed(cfg, context)
    assert [a["weight"] for a in exact.asked] == [
        Weight(pytest.approx(0.04 / m), "squared") for m in (64, 16)
    ]


def test_one_draw_has_no_error_over_draws(context: Context):
    cfg = Compressed(sets=("digits",), ratios=(0.5,), **COMMON)
    metrics, _ = compressed(cfg, context)
    assert math.isnan(metrics["cells"][0]["psnr"]["se_seeds"])


def test_finished_parts_are_not_computed_again(context: Context, exact: Exact):
    cfg = Compressed(sets=("digits",), ratios=(1.0, 0.5), **COMMON)
    first = compressed(cfg, context)
    calls = len(exact.asked)
    again = compressed(dataclasses.replace(cfg, ratios=(1.0, 0.5, 0.25)), context)
    assert len(exact.asked) == calls + 1
    assert torch.equal(again[1]["psnr"][:2], first[1]["psnr"])
    assert context.parts.seconds > 0


def test_what_is_measured_whole_is_recovered(context: Context):
    metrics, arrays = representation(Representation(sets=SETS, **COMMON), context)
    assert [cell["at"]["set"] for cell in metrics["cells"]] == list(SETS)
    assert torch.isinf(arrays["psnr"]).all()
    assert torch.equal(arrays["shown"][0], arrays["truth_digits"])


def test_denoising_tries_every_weight_and_the_one_that_the_noise_implies(
    context: Context, exact: Exact
):
    gammas = {"norm": (0.0, 0.5), "squared": (0.0, 0.1)}
    cfg = Denoising(sets=("digits",), sigmas=(0.1, 0.2), gammas=gammas, **COMMON)
    metrics, arrays = denoising(cfg, context)
    tried = [cell["at"] for cell in metrics["cells"] if cell["at"]["sigma"] == 0.1]
    assert [(t["penalty"], t["gamma"]) for t in tried] == [
        ("norm", 0.0),
        ("norm", 0.5),
        ("squared", 0.0),
        ("squared", 0.01),
        ("squared", 0.1),
    ]
    derived = [cell["at"]["gamma"] for cell in metrics["cells"] if cell["derived"]]
    assert derived == [0.01, 0.04]
    # Not clamped when it is optimised against: the noise is that of its law.
    noise = exact.asked[0]["y"] - images("digits").x
    assert noise.std().item() == pytest.approx(0.1, rel=0.1)
    twice = exact.asked[-1]["y"] - images("digits").x
    torch.testing.assert_close(twice, 2 * noise)
    sigma = {cell["at"]["sigma"]: cell["psnr"]["mean"] for cell in metrics["noisy"]}
    assert sigma[0.1] == pytest.approx(20, abs=1)
    assert arrays["noisy_digits_0.1"].shape == (12, 1, 8, 8)


def test_a_baseline_denoises_once_and_knows_the_noise(context: Context, exact: Exact):
    cfg = Denoising(sets=("digits",), sigmas=(0.1,), gammas={"norm": (0.0, 1.0)}, **COMMON)
    metrics, _ = denoising(cfg, dataclasses.replace(context, prior=None))
    (cell,) = metrics["cells"]
    assert (cell["at"]["penalty"], cell["at"]["gamma"]) == (None, None)
    assert exact.asked[0]["sigma"] == 0.1


def test_inpainting_hides_the_published_square(context: Context, exact: Exact):
    cfg = Inpainting(sets=("digits",), gammas=(0.0, 0.1), starts=("zero", "large"), **COMMON)
    metrics, arrays = inpainting(cfg, context)
    found = [(cell["at"]["start"], cell["at"]["gamma"]) for cell in metrics["cells"]]
    assert found == [("zero", 0.0), ("zero", 0.1), ("large", 0.0), ("large", 0.1)]
    y = exact.asked[0]["y"]
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[2:5, 2:5] = True  # int(8 * 0.35) to int(8 * 0.65)
    assert (y[..., hidden] == 0).all()
    assert torch.equal(y[..., ~hidden], images("digits").x[..., ~hidden])
    assert exact.asked[1]["weight"] == Weight(0.1, "norm")
    assert exact.asked[0]["weight"] == Weight()
    assert "measured_digits" in arrays


def test_starts_are_named_and_the_adversarial_one_knows_the_truth(context: Context, exact: Exact):
    cfg = Starts(ratio=0.4, gammas=(0.0, 0.5), starts=("zero", "null_space"), **COMMON)
    metrics, _ = starts(cfg, context)
    assert [cell["at"]["start"] for cell in metrics["cells"]] == 2 * ["zero"] + 2 * ["null_space"]
    assert exact.asked[2]["start"] == "null_space"
    assert exact.asked[2]["size"] == 5.0
    assert torch.equal(exact.asked[2]["image"], images("digits").x)
    assert metrics["cells"][0]["at"]["m"] == 26


def test_norms_are_shares_of_the_typical_one(context: Context, exact: Exact):
    metrics, _ = norms(Norms(ratio=0.4, norms=(0.0, 0.5), **COMMON), context)
    assert [asked["size"] for asked in exact.asked] == [0.0, 4.0]
    assert {asked["start"] for asked in exact.asked} == {"norm"}
    assert metrics["typical"] == 8.0
    # The solver reports norms over the root; the experiment writes norms.
    assert metrics["cells"][1]["latent"]["mean"] == pytest.approx(4.0)


def test_a_linear_prior_is_as_smooth_as_its_singular_values_say(context: Context):
    cfg = Smoothness(reach=0.8, steps=4, sigmas=(0.1,), **COMMON)
    metrics, arrays = smoothness(cfg, context)
    # G is 0.3 times a rotation.
    expected = 0.3 * arrays["distance"].expand(IMAGES, -1)
    for kind in ("natural", "random"):
        torch.testing.assert_close(arrays[f"moved_{kind}"], expected)
        assert metrics[f"slope_{kind}"]["mean"] == pytest.approx(0.3)
    clean, noisy = arrays["norms_0"], arrays["norms_0.1"]
    expected_growth = 64 * (0.1 / 0.3) ** 2
    grown = (noisy.square() - clean.square()).mean().item()
    assert grown == pytest.approx(expected_growth, rel=0.5)


def test_a_landscape_is_lowest_where_the_truth_is(context: Context):
    cfg = Landscape(ratio=1.0, cells=5, reach=1.0, noise=0.0, **COMMON)
    _, arrays = landscape(cfg, context)
    for kind in ("natural", "random"):
        surface = arrays[f"surface_{kind}"]
        assert surface.shape == (5, 5)
        assert surface[2, 2] == pytest.approx(0, abs=1e-20)
        assert (surface > surface[2, 2]).sum() == 24


def test_the_linear_model_lies_between_its_bounds(context: Context):
    cfg = Bound(measurements=(4, 8, 12), draws=20, **COMMON)
    metrics, arrays = bound(cfg, context)
    for cell in metrics["cells"]:
        assert cell["lower"] <= cell["error"]["mean"] <= cell["upper"]
    # 14 images span 13 dimensions.
    assert (arrays["singular"] > 1e-9).sum() == 13


def test_a_baseline_has_no_latents(context: Context):
    bare = dataclasses.replace(context, prior=None)
    with pytest.raises(ValueError, match="needs a prior"):
        smoothness(Smoothness(**COMMON), bare)


@pytest.mark.parametrize("given", [{}, {"prior": "glow", "baseline": "lasso_dct"}])
def test_a_method_is_a_prior_or_a_baseline(given: dict[str, str]):
    with pytest.raises(ValueError, match="either a prior or a baseline"):
        Method(**given)
