"""Figures from invented results: every promised file, failures said, the same bytes again."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from common.report.cells import load_paper
from lrs_flow import figures
from lrs_flow.report import draw_curves, draw_images, draw_inverse, draw_plane, draw_sets
from lrs_flow.report.paired import differences
from lrs_flow.report.results import Results, of_set, read_inverse, read_results
from lrs_flow.tables import PAPER
from tests.lrs_flow.invented import Lab, everything
from tests.lrs_flow.test_cells import COUNTS

MODULES = (draw_curves, draw_images, draw_inverse, draw_plane, draw_sets)
STEMS = [
    "rings",
    "picture",
    "small_sets",
    "uci_sets",
    "inverse_error",
    "depth",
    "samples_digits",
    "curves_plane",
    "curves_uci",
    "curves_images",
    "curves_small",
]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Catch the figures in place of saving them."""
    caught: dict[str, Figure] = {}
    for module in MODULES:
        monkeypatch.setattr(module, "save", lambda f, stem: caught.__setitem__(stem.name, f))
    return caught


def read(lab: Lab) -> Results:
    return read_results(lab.folder / "scores", "fast")


def words(figure: Figure) -> str:
    found = [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title)]
    for ax in figure.axes:
        found += [label.get_text() for label in ax.get_yticklabels()]
        if legend := ax.get_legend():
            found += [text.get_text() for text in legend.get_texts()]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " | ".join(found).replace("\n", " ")


@pytest.mark.slow
def test_every_figure_of_a_profile_is_drawn_twice_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "depth_counts", lambda: COUNTS)
    folder = everything(tmp_path).folder
    first: dict[str, bytes] = {}
    for _ in range(2):
        figures.draw(folder, "fast")
        files = {path.name: path.read_bytes() for path in sorted((folder / "figures").iterdir())}
        first = first or files
    assert files == first
    assert set(files) == {f"{s}.{end}" for s in STEMS for end in ("png", "svg")} | {"index.json"}
    index = json.loads(files["index.json"])
    assert [Path(entry["file"]).stem for entry in index] == STEMS
    assert all(entry["caption"] and entry["alt"] for entry in index)


def test_the_rings_show_truth_models_and_samples_on_one_scale(lab: Lab, drawn, tmp_path: Path):
    lab.plane("rings", ["lrs_2", "affine"], scaled_down="few steps")
    caption = draw_plane.rings(of_set(read(lab), "rings"), tmp_path)
    images = [ax.images[0] for ax in drawn["rings"].axes if ax.images]
    assert len(images) >= 6
    assert len({(image.norm.vmin, image.norm.vmax) for image in images[:6]}) == 1
    assert images[0].cmap.name == "inferno"
    shown = np.asarray(images[1].get_array())
    assert shown.shape == (64, 64)
    text = words(drawn["rings"])
    assert "True density -2.500 nats on the test points" in text
    assert "LRS, 2 steps behind the truth by 0.050 ± 0.020 misplaced 0.0%" in text
    assert "Samples: affine coupling" in text
    assert caption.caption.endswith("Scaled down: LRS, 2 steps, affine coupling (few steps).")


def test_the_picture_stands_upright(lab: Lab, drawn, tmp_path: Path):
    lab.plane("picture", ["lrs_2"])
    draw_plane.picture(of_set(read(lab), "picture"), tmp_path)
    image = drawn["picture"].axes[0].images[0]
    # The dark corner of the invented picture is below, left.
    assert image.origin == "lower"
    assert np.asarray(image.get_array())[0, 0] < np.asarray(image.get_array())[-1, -1]


def test_a_diverged_run_says_so_in_every_figure_of_it(lab: Lab, drawn, tmp_path: Path):
    lab.plane("rings", ["lrs_2", "affine"])
    lab.table("red-wine", ["lrs_c", "rq_c"])
    lab.images("digits", ["lrs_d2", "rq_d2"])
    for place in (("rings", "affine"), ("red-wine", "rq_c"), ("digits", "rq_d2")):
        lab.edit(*place, training__status="diverged", training__steps_run=300)
    results = read(lab)
    draw_plane.rings(of_set(results, "rings"), tmp_path)
    assert "diverged after step 300 of 1,000" in words(drawn["rings"])
    pairs = [d for d in differences(results) if d.ours.dataset == "red-wine"]
    draw_sets.comparison(pairs, "small_sets", "Title", tmp_path)
    assert "diverged" in words(drawn["small_sets"])
    for stem, (title, sets) in draw_curves.groups(results).items():
        draw_curves.curves(results, stem, title, sets, tmp_path)
    assert "RQ-NSF (C): diverged after step 300" in words(drawn["curves_small"])
    caption = draw_images.samples(of_set(results, "digits"), "digits", tmp_path)
    assert "RQ-NSF, depth 2 diverged after step 300" in caption.caption
    draw_images.depth(results, load_paper(PAPER)[1], COUNTS, tmp_path)
    assert "RQ-NSF, ours" not in words(drawn["depth"])


def test_a_peer_far_behind_stands_at_the_edge_with_its_number(lab: Lab, drawn, tmp_path: Path):
    lab.table("red-wine", ["gaussian", "lrs_c", "rq_c", "affine_c"])
    draw_sets.comparison(differences(read(lab)), "small_sets", "Title", tmp_path)
    (ax,) = drawn["small_sets"].axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["affine (C), the table's Glow", "RQ-NSF (C)"]
    assert ax.get_xlim()[1] < 0.5 < 0.8
    assert re_number(words(drawn["small_sets"]), "+0.8")


def re_number(text: str, beginning: str) -> bool:
    return any(part.startswith(beginning) for part in text.split(" | "))


def test_curves_are_cut_so_that_the_last_scores_can_be_told_apart(lab: Lab, drawn, tmp_path: Path):
    lab.table("red-wine", ["gaussian", "lrs_c", "rq_c", "lrs_ar"])
    results = read(lab)
    groups = draw_curves.groups(results)
    assert list(groups) == ["curves_small"]
    draw_curves.curves(results, "curves_small", *groups["curves_small"], tmp_path)
    figure = drawn["curves_small"]
    ax = figure.axes[0]
    low, high = ax.get_ylim()
    finals = [line.get_ydata()[-1] for line in ax.lines if len(line.get_ydata()) == 10]
    assert len(finals) >= 3
    assert max(finals) - min(finals) > 0.3 * (high - low)
    assert "LRS (AR)" in words(figure)
    assert "Gaussian: 14" in words(figure)


def test_failures_of_the_inverse_are_counted_beside_the_bars(lab: Lab, drawn, tmp_path: Path):
    lab.write_inverse(bad=12)
    caption = draw_inverse.inverse_error(read_inverse(lab.folder), tmp_path)
    assert "12 not finite" in words(drawn["inverse_error"])
    assert "counted beside the bars" in caption.caption
    lab.write_inverse()
    caption = draw_inverse.inverse_error(read_inverse(lab.folder), tmp_path)
    assert "none left the box" in caption.caption


def test_the_depth_study_keeps_digits_apart_from_mnist(lab: Lab, drawn, tmp_path: Path):
    cells = load_paper(PAPER)[1]
    draw_images.depth({}, cells, COUNTS, tmp_path)
    assert [ax.get_title() for ax in drawn["depth"].axes] == [
        "MNIST, published",
        "spread over runs",
        "parameters",
    ]
    lab.images("digits", ["lrs_d2", "rq_d2"])
    draw_images.depth(read(lab), cells, COUNTS, tmp_path)
    *_, ours = drawn["depth"].axes
    assert ours.get_title() == "8x8 digits, ours"
    assert "LRS, ours" not in [line.get_label() for line in drawn["depth"].axes[1].lines]
    lab.images("mnist", ["lrs_d2"])
    draw_images.depth(read(lab), cells, COUNTS, tmp_path)
    assert "LRS, ours" in [line.get_label() for line in drawn["depth"].axes[1].lines]


def test_samples_are_those_of_the_deepest_models_at_every_temperature(
    lab: Lab, drawn, tmp_path: Path
):
    lab.images("digits", ["lrs_d2", "rq_d2", "lrs_d4", "rq_d4"])
    draw_images.samples(of_set(read(lab), "digits"), "digits", tmp_path)
    text = words(drawn["samples_digits"])
    assert "LRS, depth 4, T = 0.75" in text
    assert "depth 2" not in text
    values = np.array([0, 8, 16], np.uint8)
    assert draw_images.brightness(values, 17).tolist() == [0, 128, 255]
