"""Pictures of patterns, pixel by pixel, and charts."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from cbed_tf import figures
from cbed_tf.figures import Panels, draw_patterns, for_display
from cbed_tf.inspection import charts


def sample(views=3, height=24, width=32, **attributes):
    random = np.random.default_rng(0)
    stack = random.uniform(0, 5, (views, height, width)).astype(np.float32)
    known = {"formula": "Ca1 B6", "space_group": 194, "energy_keV": 120.0}
    z_dirs = np.array([[1, -1, 0], [0, 0, 2], [2, 1, 1]])[:views]
    return Panels(
        stack, "train/batch_train_0/sample_0_0", **{**known, "z_dirs": z_dirs, **attributes}
    )


def pixels_of(figure):
    return matplotlib.image.imread(io.BytesIO(figures.as_png(figure)))


def test_display_is_the_fourth_root_of_the_share_of_the_maximum():
    pattern = np.array([[16.0, 1.0], [np.nan, -3.0], [0.0, 1e-19]], np.float32)

    shown = for_display(pattern)

    assert shown[0].tolist() == [1.0, 0.5]
    assert shown[1].tolist() == [0.0, 0.0]
    assert shown[2, 1] == pytest.approx((1e-19 / 16) ** 0.25, rel=1e-5)
    assert for_display(pattern, exponent=1)[0].tolist() == [1.0, 0.0625]


def test_a_pattern_without_intensity_is_dark():
    assert not for_display(np.zeros((2, 2))).any()
    assert not for_display(np.full((2, 2), np.nan)).any()


def test_row_0_is_at_the_top_and_every_view_has_its_own_axes():
    stack = np.zeros((2, 4, 6), np.float32)
    stack[0, 0, 5] = stack[1, 3, 0] = 7
    figure = Figure((4, 2))

    axes = figure.subplots(1, 2)
    draw_patterns(axes, stack)

    first, second = (panel.images[0] for panel in axes)
    assert first.origin == "upper"
    assert first.get_interpolation() == "none"
    assert first.get_cmap().name == "gnuplot2"
    assert first.get_array()[0, 5] == second.get_array()[3, 0] == 1
    assert all(len(panel.get_xticks()) == len(panel.get_yticks()) == 0 for panel in axes)


def test_each_pixel_of_a_pattern_is_a_whole_block_of_the_picture():
    stack = np.zeros((1, 2, 3), np.float32)
    stack[0, 0, 2] = 1
    picture = pixels_of(figures.panels_figure(Panels(stack, "id"), panel=31))

    blocks = picture[-20:, :30, :3].reshape(2, 10, 3, 10, 3)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0
    brightness = blocks[:, 0, :, 0].sum(axis=2)
    assert np.argwhere(brightness > brightness.min()).tolist() == [[0, 2]]


def test_large_patterns_are_summed_in_blocks():
    stack = np.arange(64, dtype=np.float32).reshape(1, 8, 8)

    fitted, width, height = figures._fitted(stack, 4)

    assert (width, height) == (4, 4)
    assert fitted[0, 0, 0] == 0 + 1 + 8 + 9
    assert fitted.sum() == stack.sum()


def test_a_sample_is_drawn_about_as_wide_as_asked():
    figure = figures.pattern_figure(sample())

    assert pixels_of(figure).shape[1] == pytest.approx(1200, rel=0.05)
    assert [panel.get_title() for panel in figure.axes] == [
        "[1\u2009$\\overline{1}$\u20090]",
        "[0\u20090\u20092]",
        "[2\u20091\u20091]",
    ]
    words = " ".join(text.get_text() for text in figure.texts)
    assert "CaB$_{6}$" in words
    assert "(No. 194)" in words
    assert "120 keV" in words


@pytest.mark.parametrize("views", [1, 2, 4])
def test_any_number_of_views_can_be_drawn(views):
    assert len(figures.pattern_figure(sample(views)).axes) == views


def test_a_sample_of_which_little_is_known_can_be_drawn():
    bare = Panels(np.ones((3, 5, 5), np.float32), "dev/x/y", formula="$x_{")

    for figure in (figures.pattern_figure(bare), figures.gallery_figure([bare])):
        assert pixels_of(figure).size


def test_the_gallery_has_a_row_for_each_sample():
    figure = figures.gallery_figure([sample(), sample(formula="Fe8 O14 F2")])

    assert len(figure.axes) == 6
    top, below = figure.axes[0].get_position(), figure.axes[3].get_position()
    assert top.y0 > below.y1
    assert pixels_of(figure).size


def test_few_space_groups_are_named_and_many_are_numbered():
    few = charts.class_figure({62: 3, 194: 6}).axes[0]
    many = charts.class_figure(dict.fromkeys(range(1, 231), 2)).axes[0]

    assert [label.get_text().split()[-1] for label in few.get_xticklabels()] == ["62", "194"]
    assert [bar.get_height() for bar in few.patches] == [3, 6]
    assert few.patches[0].get_facecolor() != few.patches[1].get_facecolor()
    assert many.get_xlim() == (0, 231)


def test_a_class_of_one_is_seen_beside_one_of_thousands():
    axes = charts.class_figure({14: 14784, 230: 1}).axes[0]

    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 1


def test_energies_are_stacked_by_split():
    axes = charts.energy_figure({"train": {100.0: 3, 110.0: 1}, "dev": {110.0: 2}}).axes[0]

    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "110"]
    assert [(bar.get_y(), bar.get_height()) for bar in axes.patches] == [
        (0, 3), (0, 1), (3, 0), (1, 2),
    ]  # fmt: skip


def test_the_same_chart_is_the_same_file():
    first, second = (charts.as_svg(charts.class_figure({1: 2, 62: 5})) for _ in range(2))

    assert first == second
    assert b"<svg" in first
