"""Draw every figure of a profile.

python -m lrs_flow.figures --profile fast

Reads what `lrs_flow.evaluate` and `lrs_flow.inverse` left in results/<profile>/lrs_flow/ for the
runs that the parameters list, and writes PNG, SVG and index.json to figures/ there.
"""

import argparse
from pathlib import Path

from common.datasets.images import IMAGE_SETS
from common.errors import command
from common.report.cells import load_paper
from common.report.figures import Caption, write_captions
from lrs_flow.report import draw_curves, draw_images, draw_inverse, draw_plane, draw_sets
from lrs_flow.report.paired import differences
from lrs_flow.report.results import datasets, of_set, read_inverse, read_results
from lrs_flow.report.tables_parameters import depth_counts
from lrs_flow.report.tables_plane import PLANES
from lrs_flow.tables import PAPER


@command
def main() -> None:
    """Draw the figures."""
    arguments = argparse.ArgumentParser(prog="python -m lrs_flow.figures", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="take what has been run so far")
    args = arguments.parse_args()
    draw(args.out / args.profile / "lrs_flow", args.profile, args.partial)


def draw(folder: Path, profile: str, partial: bool = False) -> None:
    """Draw into `folder`/figures what lies in `folder`/scores.

    With `partial`, runs that the parameters list but that have not been evaluated are left out.

    Raises:
        UserError: a result is missing or damaged; nothing has been drawn then.
    """
    results = read_results(folder / "scores", profile, partial=partial)
    inverse = read_inverse(folder, partial)
    gaps = [d for d in differences(results) if d.ours.dataset not in PLANES]
    _, cells = load_paper(PAPER)
    target = folder / "figures"
    captions: list[Caption] = []
    if found := of_set(results, "rings"):
        captions.append(draw_plane.rings(found, target))
    if found := of_set(results, "picture"):
        captions.append(draw_plane.picture(found, target))
    small = [d for d in gaps if d.ours.cross_validated]
    shared = [d for d in gaps if not d.ours.cross_validated and d.ours.unit == "nats"]
    if small:
        words = "Small sets: LRS against its peers"
        captions.append(draw_sets.comparison(small, "small_sets", words, folder=target))
    if shared:
        words = "Sets of the literature: LRS against its peers"
        captions.append(draw_sets.comparison(shared, "uci_sets", words, folder=target))
    if inverse["accuracy"]:
        captions.append(draw_inverse.inverse_error(inverse, target))
    captions.append(draw_images.depth(results, cells, depth_counts(), target))
    for dataset in datasets(results):
        if dataset in IMAGE_SETS:
            captions.append(draw_images.samples(of_set(results, dataset), dataset, target))
    for stem, (title, sets) in draw_curves.groups(results).items():
        captions.append(draw_curves.curves(results, stem, title, sets, target))
    write_captions(captions, target)


if __name__ == "__main__":
    main()
