"""Draw every figure of a profile.

python -m lu_net.figures --profile fast

Reads what `lu_net.evaluate` left in results/<profile>/lu_net/scores/<dataset>/<method>/ for the
data sets and methods that the parameters name, and writes PNG, SVG and index.json to
results/<profile>/lu_net/figures/.
"""

import argparse
from pathlib import Path

from common.datasets.images import IMAGE_SETS
from common.errors import command
from common.report.figures import Caption, write_captions
from common.training import config
from lu_net import draw_images, draw_mixture, draw_scores
from lu_net.results import read_results


@command
def main() -> None:
    """Draw the figures of all data sets."""
    arguments = argparse.ArgumentParser(prog="python -m lu_net.figures", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("lu_net", args.profile)
    draw(args.out / args.profile / "lu_net", args.profile, section["datasets"], section["methods"])


def draw(folder: Path, profile: str, datasets: list[str], methods: list[str]) -> None:
    """Draw into `folder`/figures what lies in `folder`/scores/<dataset>/<method>.

    Raises:
        UserError: a result is missing or damaged; figures of earlier data sets are then kept.
    """
    target = folder / "figures"
    captions: list[Caption] = []
    for dataset in datasets:
        results = read_results(folder / "scores", profile, dataset, methods)
        if dataset in IMAGE_SETS:
            levels = IMAGE_SETS[dataset].levels
            captions.append(draw_scores.nll(results, dataset, target))
            captions.append(draw_images.samples(results, dataset, levels, target))
            captions.append(draw_images.interpolation(results, dataset, levels, target))
            captions.append(draw_scores.latents(results, dataset, target))
        else:
            captions.append(draw_mixture.density(results, target))
            captions.append(draw_mixture.samples(results, target))
            captions.append(draw_mixture.latents(results, target))
        captions.append(draw_scores.curves(results, dataset, target))
    write_captions(captions, target)


if __name__ == "__main__":
    main()
