"""The figures that need no training: what they show, and the same bytes again."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from common.report.figures import Caption, save
from monotone_flow.activations import CLipSwish, CPila, CReLU
from monotone_flow.blocks import KINDS
from monotone_flow.report.draw_activations import activations, speed
from monotone_flow.report.draw_disks import NETS, differences, disks
from monotone_flow.report.draw_toys import coarse
from monotone_flow.theorem import disk


def words(figure: Figure) -> str:
    found = [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title)]
    for ax in figure.axes:
        if legend := ax.get_legend():
            found += [text.get_text() for text in legend.get_texts()]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " | ".join(found).replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize("draw", [disks, activations])
def test_a_figure_is_drawn_twice_with_the_same_bytes(draw, tmp_path: Path):
    files = []
    for _ in range(2):
        figure, caption = draw()
        assert isinstance(caption, Caption)
        assert caption.caption
        assert caption.alt
        paths = save(figure, tmp_path / Path(caption.file).stem)
        assert caption.file in {path.name for path in paths}
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]


def test_the_disks_are_those_of_the_theorem_and_nothing_lies_outside():
    figure, caption = disks()
    text = words(figure)
    for centre, radius in (("1.000", "0.800"), ("2.778", "2.222"), ("4.556", "4.444")):
        assert f"centre {centre}, radius {radius}" in text
    assert "stretch from 0.111 to 9.000" in text
    assert text.count("none outside") == 3
    assert "up to 53 degrees in both residual classes, 77 in the monotone one" in caption.caption


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_nets_reach_the_circle_fill_the_disk_or_stay_in_the_middle_as_the_caption_says(kind):
    rotated, bent, random = differences(kind, 0.8).values()
    assert len(NETS) == 3
    p, bounds = torch.tensor([[1.0, 0.0]], dtype=torch.float64), disk(kind, 0.8)
    # 1e-9 is what the solver leaves, over |p| = 0.1.
    assert bounds.excess(p, rotated).abs().max() < 1e-9
    assert bounds.excess(p, bent).max() < 1e-9
    inner = bent[bounds.excess(p, bent) < -0.02 * bounds.radius]
    assert len(inner) > 500
    assert ((inner - inner.mean(0)).abs().amax(0) > 0.6 * bounds.radius).all()
    assert (random - p).norm(dim=-1).max() < 0.8


def test_the_speeds_are_the_published_ones():
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    swish = CLipSwish().double()
    torch.nn.init.constant_(swish.beta, math.log(math.expm1(1.0)))
    cases = ((CPila(), 0.9434, 0.9989), (swish, 0.640, 0.99997), (CReLU(), 1.0, 1.0))
    for activation, low, high in cases:
        points = x[x != 0] if isinstance(activation, CReLU) else x
        values = speed(activation, points)
        assert float(values.min()) == pytest.approx(low, abs=5e-4)
        assert float(values.max()) == pytest.approx(high, abs=5e-5)


def test_the_ranges_drawn_stand_in_the_picture():
    text = words(activations()[0])
    assert "CPila: 0.9434 to 0.99889" in text
    assert "CLipSwish: 0.6403 to 0.99997" in text
    assert "least slope -0.348" in text


@pytest.mark.parametrize(("side", "left"), [(400, 100), (96, 96), (250, 50), (101, 101)])
def test_large_panels_are_averaged_over_whole_cells(side: int, left: int):
    values = np.arange(side * side).reshape(side, side)
    found = coarse(values)
    assert found.shape == (left, left)
    assert found.mean() == pytest.approx(values.mean())
    assert found[0, 0] == pytest.approx(values[: side // left, : side // left].mean())
