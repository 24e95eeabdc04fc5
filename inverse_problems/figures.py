"""Draw every figure of a profile.

python -m inverse_problems.figures --profile fast

Reads what the evaluations and experiments left in results/<profile>/inverse_problems/ for the runs
that the parameters list, and writes PNG, SVG and index.json to figures/ there.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import command
from common.report.figures import Caption, write_captions
from inverse_problems.report import (
    draw_compressed,
    draw_latent,
    draw_memory,
    draw_penalties,
    draw_priors,
    draw_supervised,
)
from inverse_problems.report.results import Solve, read_results
from inverse_problems.report.supervised_results import read_supervised
from inverse_problems.report.tables_memory import read_memory

Draw = Callable[[Sequence[Solve], Path], Caption]
# Experiment -> its figures, of all methods together.
TOGETHER: dict[str, tuple[Draw, ...]] = {
    "compressed": (draw_compressed.quality, draw_compressed.images),
    "denoising": (draw_penalties.denoising, draw_penalties.denoised),
    "inpainting": (draw_penalties.inpainting, draw_penalties.inpainted),
    "landscape": (draw_latent.landscapes,),
}
# Experiment -> its figure, of one method.
ALONE: dict[str, Callable[[Solve, Path], Caption]] = {
    "starts": draw_penalties.starts,
    "norms": draw_latent.norms,
    "smoothness": draw_latent.smoothness,
    "bound": draw_latent.bound,
}


@command
def main() -> None:
    """Draw the figures."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.figures", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="take what has been run so far")
    args = arguments.parse_args()
    draw(args.out / args.profile / "inverse_problems", args.profile, args.partial)


def draw(folder: Path, profile: str, partial: bool = False) -> None:
    """Draw into `folder`/figures what lies in `folder`.

    With `partial`, runs that the parameters list but that are not there are left out.

    Raises:
        UserError: a result is missing or damaged; nothing has been drawn then.
    """
    results = read_results(folder, profile, partial=partial)
    networks = read_supervised(folder / "scores" / "supervised", profile, partial=partial)
    measured = read_memory(folder / "memory", partial)
    target = folder / "figures"
    captions: list[Caption] = []
    for experiment, drawings in TOGETHER.items():
        if found := results.of(experiment):
            captions += [drawing(found, target) for drawing in drawings]
    for experiment, single in ALONE.items():
        captions += [single(solve, target) for solve in results.of(experiment)]
    for dataset in dict.fromkeys(dataset for dataset, _ in results.priors):
        captions.append(draw_priors.samples(results, dataset, target))
        if (caption := draw_priors.curves(results, dataset, target)) is not None:
            captions.append(caption)
    if measured is not None:
        captions.append(draw_memory.memory(measured, target))
    if networks:
        captions += draw_supervised.posteriors(networks, target)
        captions += draw_supervised.arms(networks, target)
        captions += draw_supervised.calibration(networks, target)
    write_captions(captions, target)


if __name__ == "__main__":
    main()
