"""Draw every figure of a profile.

python -m monotone_flow.figures --profile fast

Reads what the evaluations left in results/<profile>/monotone_flow/scores/ for the runs that the
parameters list, and writes PNG, SVG and index.json to figures/ beside it.
"""

import argparse
from pathlib import Path

from common.errors import command
from common.report.figures import Caption, save, write_captions
from monotone_flow.report import draw_ablation, draw_curves, draw_fit, draw_images, draw_toys
from monotone_flow.report.draw_activations import activations
from monotone_flow.report.draw_disks import disks
from monotone_flow.report.results import image_sets, of_set, read_results


@command
def main() -> None:
    """Draw the figures."""
    arguments = argparse.ArgumentParser(prog="python -m monotone_flow.figures", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="take what has been run so far")
    args = arguments.parse_args()
    draw(args.out / args.profile / "monotone_flow", args.profile, args.partial)


def draw(folder: Path, profile: str, partial: bool = False) -> None:
    """Draw into `folder`/figures what lies in `folder`/scores.

    With `partial`, runs that the parameters list but that have not been evaluated are left out.

    Raises:
        UserError: a result is missing or damaged; nothing has been drawn then.
    """
    results = read_results(folder / "scores", profile, partial=partial)
    target = folder / "figures"
    captions: list[Caption] = []
    if found := of_set(results, "staircase"):
        captions += [draw_fit.fits(found, target), draw_curves.fit_curves(found, target)]
    if found := of_set(results, "toys"):
        captions += [draw_toys.toys(found, target), draw_curves.toy_curves(found, target)]
    for dataset in image_sets(results):
        found = of_set(results, dataset)
        captions.append(draw_ablation.ablation(found, dataset, target))
        captions.append(draw_images.samples(found, dataset, target))
    for stem, make in (("disks", disks), ("activations", activations)):
        figure, caption = make()
        save(figure, target / stem)
        captions.append(caption)
    write_captions(captions, target)


if __name__ == "__main__":
    main()
