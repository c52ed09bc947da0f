import itertools

import numpy as np
import pytest

from cbed_tf import crystal
from cbed_tf.inspection.charts import as_svg
from models.evaluation import charts
from models.evaluation.reliability import reliability


def test_reliability_has_a_panel_for_each_state_and_marks_what_chance_does_not_explain():
    answers = np.repeat([[0.95, 0.05], [0.6, 0.4]], 50, axis=0)
    labels = np.repeat([0, 1, 0, 1], [10, 40, 30, 20])
    found = reliability(answers, labels, np.arange(100))
    figure = charts.reliability_chart({"before": found})
    upper, lower = figure.axes
    assert upper.get_title(loc="left") == "before"
    _, off, well = upper.lines
    assert off.get_xydata().tolist() == pytest.approx(np.array([[0.95, 0.2]]))
    assert well.get_xydata().tolist() == pytest.approx(np.array([[0.6, 0.6]]))
    assert sum(bar.get_height() for bar in lower.patches) == 100
    assert len(charts.reliability_chart({"before": found, "after": found}).axes) == 4


def test_confusion_shows_counts_and_shares_of_rows():
    figure = charts.confusion_chart(np.array([[0, 0], [3, 1000]]), ["x", "y"], "class")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["3", "1,000"]
    shares = axes.images[0].get_array()
    assert shares[1].tolist() == pytest.approx([3 / 1003, 1000 / 1003])
    assert shares[0].tolist() == [0, 0]


def test_scatter_takes_constants_and_becomes_a_picture_of_many_points():
    few = np.full((4, 2), 90.0)
    figure = charts.scatter_chart(few, few, ["α", "β"], "°", np.array([1, 62, 62, 225]))
    assert [axes.get_xlabel() for axes in figure.axes] == ["true (°)"] * 2
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["triclinic", "orthorhombic", "cubic"]
    random = np.random.default_rng(0)
    many = random.random((20_000, 1))
    figure = charts.scatter_chart(many, many, ["energy"], "keV", np.full(20_000, 62))
    assert len(as_svg(figure)) < 400_000


def test_labels_of_nearly_equal_numbers_stand_apart():
    true = np.full((3, 1), 90.0)
    answers = 90 + np.array([[0.0001], [0.017], [0.003]])
    figure = charts.scatter_chart(true, answers, ["α"], "°", np.array([1, 62, 225]))
    figure.draw_without_rendering()
    assert figure.axes[0].get_xticklabels()[0].get_text().startswith(("89.9", "90"))
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_history_has_a_panel_for_the_loss_and_each_target_and_lines_for_each_run():
    history = {"loss": [3.0, 2.0], "val_loss": [3.0, 2.5], "space_group_loss": [3.0, 2.0]}
    history |= {"space_group_top1": [0.1, 0.5], "space_group_top5": [0, 1]}
    figure = charts.history_chart({"one": history, "two": {"loss": [4.0]}})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["loss", "space group, top-1"]
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["one, train", "one, dev", "two, train"]
    assert len(figure.axes[1].lines) == 1


def test_elements_stand_where_chemists_expect_them():
    figure = charts.element_chart({"O": 0.5, "Fe": 0.0}, {"O": 1200, "Fe": 3})
    (axes,) = figure.axes
    written = [text.get_text() for text in axes.texts]
    assert "0.50" in written
    assert "1,200" in written
    assert set(crystal.ELEMENT_SYMBOLS) <= set(written)
    places = {}
    for text in axes.texts:
        if text.get_text() in crystal.ELEMENT_SYMBOLS:
            x, y = text.get_position()
            places[text.get_text()] = (int(y), int(x) + 1)  # period from 0, group
    assert len(set(places.values())) == 118
    periods_and_groups = {
        "H": (0, 1), "He": (0, 18), "Be": (1, 2), "B": (1, 13), "Ar": (2, 18), "Sc": (3, 3),
        "Fe": (3, 8), "Zn": (3, 12), "I": (4, 17), "Ba": (5, 2), "Hf": (5, 4), "Rn": (5, 18),
        "Rf": (6, 4), "Og": (6, 18),
    }  # fmt: skip
    assert {symbol: places[symbol] for symbol in periods_and_groups} == periods_and_groups
    assert places["La"][0] > 6
    assert places["Lr"][0] > places["Lu"][0]
