"""Trainings of autoencoders and DCGANs end as they should, whatever happens to them."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from common.training import checkpoint
from common.training.curve import read_curve
from inverse_problems.priors import training_gan, training_vae
from inverse_problems.priors.stored import read_prior
from tests.inverse_problems.priors.pictures import LEVELS, pictures, trained, weights

COMMON = {"steps": 12, "batch": 6, "eval_every": 3, "save_every": 1}
CASES: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "dense": (
        training_vae,
        # So fast that the best step is not the last: a resume must know of both.
        COMMON | {"family": "vae", "latents": 3, "hidden": [6, 5], "lr": 0.1, "pixels": "logistic"},
    ),
    "conv": (
        training_vae,
        COMMON | {"family": "vae", "architecture": "conv", "latents": 3, "width": 4, "lr": 1e-2},
    ),
    "gan": (
        training_gan,
        COMMON | {"family": "gan", "latents": 3, "width": 4, "represent_steps": 2},
    ),
}
ALL = pytest.mark.parametrize(("module", "settings"), CASES.values(), ids=CASES)


class Killed(BaseException):
    """Stand for a kill, which no trainer may catch."""


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "a/status.json").read_text())
    return found


@ALL
def test_a_training_that_stops_and_goes_on_is_one_that_runs_through(module, settings, tmp_path):
    whole = trained(module, tmp_path / "whole", settings)
    for stop in (3, 9):
        trained(module, tmp_path / "parts", settings | {"stop": stop})
        assert status(tmp_path / "parts")["steps_run"] == stop
    assert trained(module, tmp_path / "parts", settings) == whole


@ALL
def test_a_training_killed_between_two_checkpoints_ends_with_the_same_bytes(
    module, settings, tmp_path, monkeypatch
):
    settings = settings | {"save_every": 2}
    whole = trained(module, tmp_path / "whole", settings)
    # Before the first checkpoint, after one, and after a look that did not save.
    for fatal in (1, 7, 10):
        with monkeypatch.context() as patch:

            def check(self, loss, step, fatal=fatal, guarded=module.Guard.check):
                if step == fatal:
                    raise Killed
                guarded(self, loss, step)

            patch.setattr(module.Guard, "check", check)
            with pytest.raises(Killed):
                trained(module, tmp_path / "parts", settings)
    assert trained(module, tmp_path / "parts", settings) == whole


@ALL
def test_a_diverging_training_keeps_its_last_good_state_and_says_so(
    module, settings, tmp_path, monkeypatch, capsys
):
    trained(module, tmp_path / "good", settings | {"stop": 6})

    def spoil(self, closure=None, kept=torch.optim.Adam.step):
        kept(self, closure)
        if int(next(iter(self.state.values()))["step"]) > 6:
            self.param_groups[0]["params"][0].data.fill_(torch.nan)

    monkeypatch.setattr(torch.optim.Adam, "step", spoil)
    trained(module, tmp_path / "bad", settings)
    assert "is not finite at step" in capsys.readouterr().out
    found = status(tmp_path / "bad")
    assert (found["status"], found["steps_run"]) == ("diverged", 6)
    torch.testing.assert_close(weights(tmp_path / "bad"), weights(tmp_path / "good"))


@ALL
def test_the_exported_weights_are_a_prior_that_can_be_read(module, settings, tmp_path):
    trained(module, tmp_path, settings)
    tensors, shape, levels = read_prior(tmp_path / "a/weights.pt")
    assert (shape, levels) == ((1, 8, 8), LEVELS)
    cfg = module.Config(**settings | {"hidden": (6, 5)} if "hidden" in settings else settings)
    prior = module.build(cfg, shape, levels)
    prior.load_state_dict(tensors)
    assert prior.eval().sample(2, torch.Generator().manual_seed(0)).shape == (2, 1, 8, 8)
    cost = json.loads((tmp_path / "a/cost.json").read_text())
    assert 0 < cost["parameters"] <= sum(p.numel() for p in prior.parameters())


@ALL
def test_the_start_is_a_function_of_the_seed_and_leaves_the_global_generator(module, settings):
    settings = {key: value for key, value in settings.items() if key != "hidden"}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (
        module.build(module.Config(**settings, seed=seed), (1, 8, 8), LEVELS).state_dict()
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# The autoencoder


def test_the_best_validation_bound_is_exported(tmp_path):
    module, settings = CASES["dense"]
    trained(module, tmp_path, settings)
    curve = read_curve(tmp_path / "a/curve.csv")
    found = status(tmp_path)
    assert found["best_valid"] == min(curve["valid"])
    assert found["best_step"] == curve["step"][curve["valid"].index(min(curve["valid"]))] < 12
    cfg = module.Config(**settings | {"hidden": (6, 5)})
    vae = module.build(cfg, (1, 8, 8), LEVELS)
    vae.load_state_dict(weights(tmp_path))
    bound, kl = module.validate(vae, pictures().valid.x, LEVELS, cfg.seed)
    assert -bound.item() == found["best_valid"]
    assert kl.item() == curve["valid_kl"][curve["step"].index(found["best_step"])]


def test_a_look_does_not_depend_on_its_chunks_but_by_the_noise(monkeypatch):
    settings = {key: value for key, value in CASES["dense"][1].items() if key != "hidden"}
    cfg = training_vae.Config(**settings)
    vae = training_vae.build(cfg, (1, 8, 8), LEVELS).double()
    x = pictures().valid.x
    whole = training_vae.validate(vae, x, LEVELS, 0)
    assert torch.equal(whole[0], training_vae.validate(vae, x, LEVELS, 0)[0])
    assert not torch.equal(whole[0], training_vae.validate(vae, x, LEVELS, 1)[0])
    monkeypatch.setattr(training_vae, "CHUNK", 4)
    # The divergence has no noise.
    torch.testing.assert_close(training_vae.validate(vae, x, LEVELS, 0)[1], whole[1])


def test_an_image_with_weight_zero_moves_nothing(tmp_path, monkeypatch):
    module, settings = CASES["dense"]
    # 22 images in batches of at most 6: two of four steps have a place to fill.
    whole = trained(module, tmp_path / "a", settings)

    class Spoiled(training_vae.EpochBatches):
        def indices(self, step):
            index, weight = super().indices(step)
            return torch.where(weight == 0, (index + 1) % 22, index), weight

    monkeypatch.setattr(module, "EpochBatches", Spoiled)
    assert trained(module, tmp_path / "b", settings) == whole


# The DCGAN


def test_the_last_weights_are_exported_and_the_status_says_why(tmp_path):
    module, settings = CASES["gan"]
    trained(module, tmp_path, settings)
    saved = checkpoint.load(tmp_path / "a/checkpoint.pt", "a")
    torch.testing.assert_close(weights(tmp_path), saved["model"], rtol=0, atol=0)
    assert status(tmp_path)["selection"].startswith("last weights")
    assert "best_step" not in status(tmp_path)


def test_each_player_steps_on_its_own_loss():
    gan = training_gan.build(
        training_gan.Config(family="gan", steps=1, latents=3, width=4), (1, 8, 8), LEVELS
    ).double()
    twin = training_gan.build(
        training_gan.Config(family="gan", steps=1, latents=3, width=4), (1, 8, 8), LEVELS
    ).double()
    draw = torch.Generator().manual_seed(0)
    x = torch.rand((6, 1, 8, 8), generator=draw, dtype=torch.float64)
    z = torch.randn((6, 3), generator=draw, dtype=torch.float64)
    both = torch.optim.Adam(gan.parameters(), 1e-2, betas=(0.5, 0.999))
    for _ in range(3):
        losses = training_gan.adversarial_step(gan, both, x, z)
    # The textbook: two optimisers and the two cross-entropies of sigmoids.
    entropy = torch.nn.BCELoss()
    one, none = torch.ones(6).double(), torch.zeros(6).double()
    first = torch.optim.Adam(twin.discriminator.parameters(), 1e-2, betas=(0.5, 0.999))
    second = torch.optim.Adam(twin.generator.parameters(), 1e-2, betas=(0.5, 0.999))
    for _ in range(3):
        made = twin.decode(z)
        first.zero_grad()
        caught = entropy(twin.discriminator(x).sigmoid(), one)
        caught = caught + entropy(twin.discriminator(made.detach()).sigmoid(), none)
        caught.backward()
        first.step()
        second.zero_grad()
        fooled = entropy(twin.discriminator(made).sigmoid(), one)
        fooled.backward()
        second.step()
    torch.testing.assert_close(losses, torch.stack([caught, fooled]).detach())
    torch.testing.assert_close(gan.state_dict(), twin.state_dict())


def test_a_look_measures_the_range_of_the_generator_and_changes_nothing():
    gan = training_gan.build(
        training_gan.Config(family="gan", steps=1, latents=3, width=4), (1, 8, 8), LEVELS
    ).double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        gan.train()
        for _ in range(30):
            gan.decode(torch.randn((16, 3), generator=draw, dtype=torch.float64))
        inside = gan.eval().decode(torch.randn((4, 3), generator=draw, dtype=torch.float64))
    before = {name: tensor.clone() for name, tensor in gan.state_dict().items()}
    errors = [training_gan.represent(gan.train(), inside, steps, 0) for steps in (1, 30, 300)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3 * errors[0]
    outside = training_gan.represent(gan, 1 - inside, 300, 0)
    assert outside > 10 * errors[2]
    torch.testing.assert_close(gan.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in gan.parameters())
    assert training_gan.represent(gan, inside, 0, 0) != training_gan.represent(gan, inside, 0, 0)
