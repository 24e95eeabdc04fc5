"""What the profiles say can be trained and evaluated."""

import dataclasses
from pathlib import Path

import pytest

from common.datasets.images import IMAGE_SETS
from common.errors import UserError
from common.training import config
from inverse_problems.config import Evaluate
from inverse_problems.families import trainer
from inverse_problems.priors.config_flow import TrainFlow

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "conf/inverse_problems").glob("*.yaml"))
SIZES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "celeba64": (3, 64, 64)}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_prior_of_a_profile_can_be_built_and_evaluated(profile: str):
    section = config.section("inverse_problems", profile, root=ROOT)
    for key, run in section["priors"].items():
        dataset, prior = run["dataset"], run["prior"]
        assert key == f"{profile}-{dataset}-{prior}"
        config.load(section.at("evaluate").at(dataset), Evaluate)
        family, cfg = trainer(section.at("train").at(dataset).at(prior))
        assert cfg.family == section["train"][dataset][prior]["family"]
        if isinstance(cfg, TrainFlow):
            # Those of many steps and channels differ in nothing else.
            small = dataclasses.replace(cfg.model, steps=1, last_steps=1, width=4)
            levels = IMAGE_SETS[dataset].levels if dataset in IMAGE_SETS else 256
            shape = SIZES[dataset]
            built = family.build(dataclasses.replace(cfg, model=small), shape, levels)
            assert built.shape == shape


def test_a_stop_between_two_looks_is_refused():
    with pytest.raises(UserError, match="stop must be a multiple of eval_every, 250"):
        config.load({"steps": 1000, "stop": 300}, TrainFlow, "params.yaml:here")
    assert config.load({"steps": 1000, "stop": 500}, TrainFlow, "params.yaml:here").last == 500


def test_the_family_comes_first_and_must_be_known():
    with pytest.raises(UserError, match="family: expected one of flow, vae, gan, got None"):
        trainer({"steps": 1})
