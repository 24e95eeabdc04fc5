"""Look at a trained DCGAN: it has no likelihood, and nothing here is a measure of its quality."""

from typing import Any, cast

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.metrics.likelihood import mean_and_se
from common.training.seeding import generator
from inverse_problems.config import Evaluate
from inverse_problems.priors.base import Prior
from inverse_problems.priors.dcgan import Dcgan
from inverse_problems.priors.grey import grey
from inverse_problems.priors.training_gan import Config, represent

CHUNK = 250  # images that are judged at once
JUDGED = 0  # the stream of the evaluation's seed

NO_QUALITY = (
    "statistics of the discriminator show the balance of the game, and are no measure of quality"
)


def score(
    prior: Prior, cfg: Evaluate, trained: Config, data: Dataset
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the discriminator takes for data, and the spread of samples.

    The shares of images whose logit is positive, of the test split, of the train split and of as
    many samples as test images; about one half each where the game is balanced. `pixel_sd` is the
    standard deviation of a pixel over images, averaged over the pixels: far lower for samples than
    for data it shows a collapse. `representation` is the squared error of the first `certified`
    test images after `represent_steps` steps of Adam on z, an upper bound on the representation
    error.

    `logits_test`, `logits_train` and `logits_samples` hold the logits of each image.
    """
    gan = cast(Dcgan, prior)
    like = next(gan.parameters())
    levels = data.levels or 2
    splits = {
        "test": data.test.x[: cfg.test_items],
        "train": data.train.x[: cfg.train_items],
    }
    images = {name: grey(x.to(like.device), levels, like.dtype) for name, x in splits.items()}
    images["samples"] = gan.sample(
        len(images["test"]), generator(cfg.seed, JUDGED, device=like.device)
    )
    statistics: dict[str, Any] = {"note": NO_QUALITY}
    arrays: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, x in images.items():
            logits = torch.cat([gan.discriminator(block) for block in x.split(CHUNK)])
            share, se = mean_and_se((logits > 0).double())
            statistics[name] = {"taken_for_data": share, "se": se, "images": len(x)}
            arrays[f"logits_{name}"] = logits.float()
    spread = {name: x.double().std(0).mean().item() for name, x in images.items()}
    steps = trained.represent_steps
    return {
        "parameters": sum(p.numel() for p in gan.generator.parameters()),
        "discriminator": statistics,
        "pixel_sd": spread,
        "representation": {
            "mse": represent(gan, images["test"][: cfg.certified], steps, cfg.seed),
            "steps": steps,
            "images": min(cfg.certified, len(images["test"])),
        },
    }, arrays
