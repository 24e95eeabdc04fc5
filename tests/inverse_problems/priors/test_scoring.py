"""Scores of autoencoders and DCGANs are what their names say, and change nothing."""

import math

import pytest
import torch

from common.metrics.psnr import psnr
from inverse_problems.config import Evaluate
from inverse_problems.priors import scoring_gan, scoring_vae, training_gan, training_vae
from inverse_problems.priors.dcgan import Dcgan
from inverse_problems.priors.grey import grey
from inverse_problems.priors.vae import Vae
from tests.inverse_problems.priors.pictures import LEVELS, pictures

EVALUATE = Evaluate(draws=3, test_items=5, train_items=11, certified=2)


def autoencoder(pixels: str = "logistic") -> tuple[Vae, training_vae.Config]:
    cfg = training_vae.Config(family="vae", steps=1, latents=3, pixels=pixels, valid_items=6)
    return training_vae.build(cfg, (1, 8, 8), LEVELS).double().eval().requires_grad_(False), cfg


def network() -> tuple[Dcgan, training_gan.Config]:
    cfg = training_gan.Config(family="gan", steps=1, latents=3, width=4, represent_steps=3)
    return training_gan.build(cfg, (1, 8, 8), LEVELS).double().eval().requires_grad_(False), cfg


def test_grey_values_reach_both_ends():
    assert grey(torch.tensor([0, 1, 4], dtype=torch.uint8), 5, torch.float64).tolist() == [
        0.0,
        0.25,
        1.0,
    ]


# The autoencoder


def test_the_bound_of_a_test_image_is_the_mean_over_draws():
    vae, cfg = autoencoder()
    cfg_many = Evaluate(draws=400, test_items=4, train_items=4)
    found, arrays = scoring_vae.score(vae, cfg_many, cfg, pictures())
    x = grey(pictures().test.x[:4], LEVELS, torch.float64)
    noise = torch.randn((400, 4, 3), generator=torch.Generator().manual_seed(9)).double()
    draws = torch.stack([vae.elbo(x, one) for one in noise])
    # Four standard errors of either mean over 400 draws.
    error = 4 * (2 / 400) ** 0.5 * draws.std(0)
    assert bool(((arrays["elbo"] - draws.mean(0)).abs() < error).all())
    assert found["bound"]["test"]["nats"] == pytest.approx(arrays["elbo"].mean().item(), rel=1e-6)
    assert found["bound"]["test"]["se"] == pytest.approx(
        arrays["elbo"].std().item() / math.sqrt(4), rel=1e-4
    )
    # Tighter with 400 draws than with one, for these four images together.
    assert arrays["importance"].sum() > arrays["elbo"].sum()


def test_a_single_importance_draw_is_the_bound_of_that_draw():
    vae, cfg = autoencoder()
    found, arrays = scoring_vae.score(vae, Evaluate(draws=1), cfg, pictures())
    # In the mean over the posterior; of 7 images, within four standard errors of the difference.
    difference = arrays["importance"] - arrays["elbo"]
    assert difference.mean().abs() < 4 * difference.std() / math.sqrt(len(difference))
    assert found["bound"]["importance"]["images"] == 7


def test_bits_per_dimension_are_given_of_a_likelihood_only():
    bound = {
        pixels: scoring_vae.score(*_asked(pixels))[0]["bound"]
        for pixels in ("logistic", "bernoulli")
    }
    logistic, bernoulli = bound["logistic"], bound["bernoulli"]
    assert logistic["is_likelihood"]
    assert "note" not in logistic
    for split in ("test", "valid", "train", "importance"):
        bits = logistic[split]["bits_per_dim"]
        assert bits == pytest.approx(-logistic[split]["nats"] / (64 * math.log(2)))
        assert logistic[split]["bits_per_dim_se"] > 0
        assert "bits_per_dim" not in bernoulli[split]
    assert "bits_per_dim" not in logistic["kl"]
    assert not bernoulli["is_likelihood"]
    assert "no likelihood" in bernoulli["note"]


def _asked(pixels: str):  # type: ignore[no-untyped-def]
    vae, cfg = autoencoder(pixels)
    return vae, EVALUATE, cfg, pictures()


def test_splits_are_as_large_as_asked_and_reconstructions_are_those_of_the_posterior_mean():
    vae, asked, cfg, data = _asked("logistic")
    found, arrays = scoring_vae.score(vae, asked, cfg, data)
    sizes = {name: found["bound"][name]["images"] for name in ("test", "valid", "train")}
    assert sizes == {"test": 5, "valid": 6, "train": 11}
    x = grey(data.test.x[:5], LEVELS, torch.float64)
    expected = psnr(vae.decode(vae.posterior(x)[0]), x)
    torch.testing.assert_close(arrays["psnr"], expected.float())
    assert found["reconstruction"]["psnr"] == pytest.approx(expected.mean().item())
    torch.testing.assert_close(arrays["shown"], x.float())
    torch.testing.assert_close(arrays["reconstructed"], vae.reconstruct(x).float())


def test_a_latent_that_no_image_moves_is_not_active():
    vae, cfg = autoencoder()
    last = vae.encoder[-1]
    last.weight.zero_()
    assert scoring_vae.score(vae, EVALUATE, cfg, pictures())[0]["active_latents"] == 0
    last.weight[1] = 100.0
    last.weight[1, ::2] = -100.0
    assert scoring_vae.score(vae, EVALUATE, cfg, pictures())[0]["active_latents"] == 1


# The DCGAN


class Brightness(torch.nn.Module):
    """Take for data what is brighter than a limit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).mean(1) - 0.55


def test_the_discriminator_is_asked_about_each_image_and_no_quality_is_claimed(monkeypatch):
    gan, cfg = network()
    data = pictures()
    gan.discriminator = Brightness()
    whole = scoring_gan.score(gan, EVALUATE, cfg, data)
    monkeypatch.setattr(scoring_gan, "CHUNK", 2)
    found, arrays = scoring_gan.score(gan, EVALUATE, cfg, data)
    torch.testing.assert_close(arrays, whole[1])
    statistics = found["discriminator"]
    assert "no measure of quality" in statistics["note"]
    for name, x in (("test", data.test.x[:5]), ("train", data.train.x[:11])):
        bright = grey(x, LEVELS, torch.float64).flatten(1).mean(1)
        torch.testing.assert_close(arrays[f"logits_{name}"], (bright - 0.55).float())
        share = (bright > 0.55).double().mean().item()
        assert statistics[name]["taken_for_data"] == pytest.approx(share)
        assert statistics[name]["images"] == len(x)
    assert statistics["samples"]["images"] == 5
    spread = grey(data.test.x[:5], LEVELS, torch.float64).std(0).mean().item()
    assert found["pixel_sd"]["test"] == pytest.approx(spread)
    assert found["parameters"] == sum(p.numel() for p in gan.generator.parameters())


def test_the_representation_error_is_that_of_the_first_certified_test_images():
    gan, cfg = network()
    x = grey(pictures().test.x[:2], LEVELS, torch.float64)
    found, _ = scoring_gan.score(gan, EVALUATE, cfg, pictures())
    expected = training_gan.represent(gan, x, 3, EVALUATE.seed)
    assert found["representation"] == {"mse": expected, "steps": 3, "images": 2}


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_score_is_a_function_of_its_seed_and_leaves_the_prior_as_it_was(family):
    prior, cfg = autoencoder() if family == "vae" else network()
    module = scoring_vae if family == "vae" else scoring_gan
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    first, second = (module.score(prior, EVALUATE, cfg, pictures()) for _ in range(2))
    assert first[0] == second[0]
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=0)
    other = module.score(prior, Evaluate(draws=3, test_items=5, seed=2), cfg, pictures())
    assert any(not torch.equal(first[1][name], other[1][name]) for name in first[1])
    torch.testing.assert_close(prior.state_dict(), before, rtol=0, atol=0)
    assert not prior.training
