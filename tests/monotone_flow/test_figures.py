"""Figures from invented results: every promised file, failures said, the same bytes again."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from common.report.figures import Caption, panels
from monotone_flow import figures, plane_scores
from monotone_flow.report import draw_ablation, draw_curves, draw_fit, draw_images, draw_toys
from monotone_flow.report.results import Result, of_set, read_results
from tests.monotone_flow.invented import FLOORS, LESS, Lab, everything
from tests.monotone_flow.test_draw import words

MODULES = (draw_ablation, draw_curves, draw_fit, draw_images, draw_toys)
IMAGES = ["ablation_digits", "samples_digits"]
STEMS = ["fit", "fit_curves", "toys", "toy_curves", *IMAGES, "disks", "activations"]


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


def read(lab: Lab, dataset: str) -> list[Result]:
    return of_set(read_results(lab.folder / "scores", "fast"), dataset)


def without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the figures that need no results, and have their own tests, by small ones."""
    for stem in ("disks", "activations"):
        caption = Caption(f"{stem}.svg", stem, stem, stem)
        monkeypatch.setattr(figures, stem, lambda c=caption: (panels()[0], c))


@pytest.mark.slow
def test_every_figure_of_a_profile_is_drawn_twice_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    without_training(monkeypatch)
    lab = everything(tmp_path)
    lab.images()
    folder = lab.folder
    files = []
    for _ in range(2):
        figures.draw(folder, "fast")
        files.append({p.name: p.read_bytes() for p in (folder / "figures").iterdir()})
    assert set(files[0]) == {f"{stem}.{end}" for stem in STEMS for end in ("png", "svg")} | {
        "index.json"
    }
    assert files[0] == files[1]
    index = json.loads(files[0]["index.json"])
    assert [entry["file"] for entry in index] == [f"{stem}.svg" for stem in STEMS]
    assert all(entry["caption"] and entry["alt"] and entry["title"] for entry in index)


@pytest.mark.usefixtures("lab")
def test_without_results_only_what_needs_none_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    without_training(monkeypatch)
    folder = tmp_path / "results/fast/monotone_flow"
    figures.draw(folder, "fast")
    index = json.loads((folder / "figures/index.json").read_text())
    assert [entry["file"] for entry in index] == ["disks.svg", "activations.svg"]


def test_fits_show_every_seed_above_its_error(lab: Lab, drawn, tmp_path: Path):
    lab.fits(seeds=2, lacks="few steps")
    caption = draw_fit.fits(read(lab, "staircase"), tmp_path)
    axes = drawn["fit"].axes
    assert len(axes) == 8
    arrays = read(lab, "staircase")[-1].arrays
    target, *fits = axes[3].lines
    assert np.array_equal(target.get_ydata(), arrays["target"])
    assert np.array_equal([line.get_ydata() for line in fits], arrays["fit"])
    errors = [line.get_ydata() for line in axes[7].lines]
    assert np.array_equal(errors, np.abs(arrays["fit"] - arrays["target"]))
    assert len({ax.get_ylim() for ax in axes[4:]}) == 1
    assert "d: scaled monotone twice MSE 8e-05, largest slope 20.1" in words(drawn["fit"])
    assert caption.caption.endswith("Scaled down: few steps.")


def test_learning_curves_of_the_fit_have_a_line_a_seed_and_a_name_a_panel(
    lab: Lab, drawn, tmp_path: Path
):
    lab.fits(seeds=3)
    draw_curves.fit_curves(read(lab, "staircase"), tmp_path)
    (ax,) = drawn["fit_curves"].axes
    assert len(ax.lines) == 12
    assert len({line.get_color() for line in ax.lines}) == 4
    names = [text.get_text() for legend in drawn["fit_curves"].legends for text in legend.texts]
    assert [name[0] for name in names] == list("abcd")


def test_curves_of_a_set_are_those_of_its_own_models(lab: Lab, drawn, tmp_path: Path):
    lab.toys(seeds=2)
    lab.toys(["i_densenet"], sets=["moons"], lacks=LESS)
    results = read(lab, "toys")
    caption = draw_curves.toy_curves(results, tmp_path)
    titles = {ax.get_title(): ax for ax in drawn["toy_curves"].axes}
    assert list(titles) == ["2 Spirals", "Moons", "Rings"]
    ours, peer = (result.arrays["curve_valid"] for result in results)
    # In the arrays: rings, then spirals, then moons, two seeds each.
    for title, name, first in (("Rings", "rings", 0), ("2 Spirals", "2spirals", 2)):
        lines = [line.get_ydata() for line in titles[title].lines]
        expected = ours[:, first : first + 2].T - FLOORS[name]
        assert np.allclose(lines, expected, rtol=1e-6)
    lines = [line.get_ydata() for line in titles["Moons"].lines]
    assert len(lines) == 3
    assert np.allclose(lines[2], peer[:, 0] - FLOORS["moons"], rtol=1e-6)
    assert caption.caption.endswith(f"Scaled down: {LESS}.")


def test_a_row_of_plane_densities_has_one_scale_and_stands_upright(lab: Lab, drawn, tmp_path: Path):
    lab.toys()
    draw_toys.toys(read(lab, "toys"), tmp_path)
    axes = drawn["toys"].axes
    assert len(axes) == 3 * 6
    assert [axes[place].get_ylabel() for place in (0, 6, 12)] == ["2 Spirals", "Moons", "Rings"]
    data, true, ours, samples, peer, peer_samples = (ax.images[0] for ax in axes[:6])
    assert len({image.norm.vmax for image in (true, ours, peer)}) == 1
    assert len({image.norm.vmax for image in (data, samples, peer_samples)}) == 1
    assert {ax.images[0].norm.vmin for ax in axes} == {0}
    assert true.origin == "lower"
    half = plane_scores.WINDOW
    assert tuple(true.get_extent()) == (-half, half, -half, half)
    # The invented spot is at (1, 2): right of and above the middle.
    row, column = np.unravel_index(np.asarray(true.get_array()).argmax(), (64, 64))
    assert row > column > 32
    assert "Monotone Flow excess 0.0" in words(drawn["toys"])


def test_a_set_that_only_one_method_has_leaves_the_rest_of_its_row_empty(
    lab: Lab, drawn, tmp_path: Path
):
    lab.toys(["monotone"], sets=["rings", "moons"])
    lab.toys(["i_densenet"], sets=["moons"])
    draw_toys.toys(read(lab, "toys"), tmp_path)
    assert len(drawn["toys"].axes) == 6 + 4


def test_a_diverged_run_says_so_in_every_figure_of_it(lab: Lab, drawn, tmp_path: Path):
    lab.fits()
    lab.toys()
    for place in (("staircase", "monotone"), ("toys", "monotone")):
        lab.edit(*place, training__status="diverged", training__steps_run=300)
    ending = "diverged after step 300 of 1,000"
    draw_fit.fits(read(lab, "staircase"), tmp_path)
    draw_toys.toys(read(lab, "toys"), tmp_path)
    for stem in ("fit", "toys"):
        assert ending in words(drawn[stem])
    draw_curves.fit_curves(read(lab, "staircase"), tmp_path)
    draw_curves.toy_curves(read(lab, "toys"), tmp_path)
    assert f"d: scaled monotone twice {ending}" in words(drawn["fit_curves"])
    assert f"Monotone Flow {ending}" in words(drawn["toy_curves"])


def test_a_score_that_is_not_finite_is_said(lab: Lab, drawn, tmp_path: Path):
    lab.toys()
    lab.edit("toys", "monotone", sets__moons__excess__mean="not finite")
    draw_toys.toys(read(lab, "toys"), tmp_path)
    assert "Monotone Flow excess not finite" in words(drawn["toys"])
    assert "nan" not in words(drawn["toys"])


def test_the_ablation_is_drawn_by_step_and_by_second(lab: Lab, drawn, tmp_path: Path):
    lab.images(lacks="small")
    lab.edit("digits", "residual_cpila", training__status="diverged", training__steps_run=600)
    results = read(lab, "digits")
    caption = draw_ablation.ablation(results, "digits", tmp_path)
    left, right = drawn["ablation_digits"].axes
    for ax, against in ((left, "step"), (right, "seconds")):
        assert len(ax.lines) == 4
        for line, result in zip(ax.lines, results, strict=True):
            assert np.array_equal(line.get_xdata(), result.arrays[f"curve_{against}"])
            assert np.array_equal(line.get_ydata(), result.arrays["curve_valid"])
    # Two colours for the blocks, two lines for the activations.
    assert len({line.get_color() for line in left.lines}) == 2
    assert [line.get_linestyle() for line in left.lines] == ["--", "-", "--", "-"]
    text = words(drawn["ablation_digits"])
    assert "residual, CPila diverged after step 600 of 1,000" in text
    assert caption.caption.endswith("Scaled down: small.")


def test_methods_outside_of_the_ablation_are_told_apart_by_colour():
    styles = [draw_ablation.style(m, k) for k, m in enumerate(("monotone", "i_densenet", "x"))]
    assert len(set(styles)) == 3


def test_samples_have_a_row_for_each_model_and_white_places_where_there_are_few(
    lab: Lab, drawn, tmp_path: Path
):
    lab.images(["residual_cpila", "monotone_cpila"])
    results = read(lab, "digits")
    draw_images.samples(results, "digits", tmp_path)
    labels = [text.get_text() for text in drawn["samples_digits"].axes[0].get_yticklabels()]
    assert labels == ["residual, CPila", "monotone, CPila"]
    few = dict(results[0].arrays) | {"samples": results[0].arrays["samples"][:3]}
    results[0].__dict__["arrays"] = few
    found = draw_images.row(results[0])
    assert found.shape == (draw_images.SHOWN, 1, 8, 8)
    assert np.array_equal(found[:3], few["samples"])
    assert bool((found[3:] == 255).all())
