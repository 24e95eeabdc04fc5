"""Figures: the same bytes again, and wrong shapes refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.report.figures import (
    Caption,
    density_panel,
    image_grid,
    latent_histogram,
    panels,
    save,
    write_captions,
)


def sheet(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_a_second_run_saves_the_same_bytes_without_date_or_version(tmp_path: Path):
    for name in ("one", "two"):
        figure, axes = panels(1, 2, width=2)
        latent_histogram(axes[0], torch.linspace(-3, 3, 100))
        axes[1].plot([0, 1], [1, 0])
        png, svg = save(figure, tmp_path / name / "figure")
        assert (png.name, svg.name) == ("figure.png", "figure.svg")
    for name in ("figure.png", "figure.svg"):
        first = (tmp_path / "one" / name).read_bytes()
        assert first == (tmp_path / "two" / name).read_bytes()
        for mark in (b"Matplotlib", b"Software", b"dc:date", b"dc:creator"):
            assert mark not in first


def test_images_stand_row_by_row_with_a_gap_and_white_where_there_is_none():
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    pixels = sheet(image_grid(images, 2, 2, ["a", "b"], "title"))
    assert pixels.shape == (11, 11, 3)
    assert [pixels[2, 2, 0], pixels[2, 7, 0], pixels[7, 2, 0], pixels[7, 7, 0]] == [0, 1, 2, 255]


def test_colour_images_keep_their_channels():
    image = np.zeros((1, 3, 2, 2), dtype=np.uint8)
    image[0, 1] = 200
    assert sheet(image_grid(image, 1, 1))[1, 1].tolist() == [0, 200, 0]


@pytest.mark.parametrize(
    ("shape", "dtype", "rows", "labels", "sentence"),
    [
        ((4, 2, 2), np.float32, 2, None, "expected uint8"),
        ((4, 2), np.uint8, 2, None, "expected uint8 of shape"),
        ((4, 2, 2, 2), np.uint8, 2, None, "1 or 3 channels, got 2"),
        ((5, 2, 2), np.uint8, 2, None, "5 images do not fit into 2 x 2"),
        ((4, 2, 2), np.uint8, 2, ["a"], "1 labels for 2 rows"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape, dtype, rows, labels, sentence):
    with pytest.raises(UserError, match=sentence):
        image_grid(np.zeros(shape, dtype), rows, 2, labels)


def test_the_density_panel_draws_the_exponential_of_the_log_density():
    _, (ax,) = panels()
    side = torch.linspace(-1, 1, 5)
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
    logp = -grid.square().sum(-1)
    mesh = density_panel(ax, grid, logp)
    np.testing.assert_allclose(mesh.get_array(), logp.exp().numpy())
    with pytest.raises(UserError, match=r"expected a grid \(ny, nx, 2\)"):
        density_panel(ax, grid, logp[:4])


def test_the_latent_histogram_has_the_area_of_the_share_inside():
    _, (ax,) = panels()
    z = torch.cat([torch.zeros(90), torch.tensor([100.0] * 9 + [torch.nan])])
    latent_histogram(ax, z.view(10, 10))
    heights, edges, _ = ax.patches[0].get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(0.9)
    assert "outside: 10.0%" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_caption_without_its_picture_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"gone\.png: no such picture"):
        write_captions([Caption("gone.png", "t", "c", "a")], tmp_path)
