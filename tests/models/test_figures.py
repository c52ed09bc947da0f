import numpy as np
import pytest
from matplotlib.image import imread

from models import figures


def test_training_curve_has_a_panel_for_the_loss_and_each_target(tmp_path):
    history = {"loss": [3.0, 2.0], "val_loss": [3.0, 2.5], "space_group_loss": [3.0, 2.0]}
    figures.save_training_curve(tmp_path / "one.png", history)
    figures.save_training_curve(
        tmp_path / "two.png",
        {**history, "space_group_top1": [0.1, 0.5], "space_group_top5": [0, 1]},
    )
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] == 2 * one.shape[1]


def test_nothing_is_drawn_before_the_first_epoch(tmp_path):
    figures.save_training_curve(tmp_path / "curve.png", {})
    assert list(tmp_path.iterdir()) == []


def test_patterns_have_a_row_for_each_view(tmp_path):
    stacks = np.random.default_rng(0).random((2, 3, 24, 32), np.float32)
    stacks[0, 0, 0, 0] = np.nan
    figures.save_patterns(tmp_path / "wide.png", stacks, ["a", "b"])
    figures.save_patterns(tmp_path / "tall.png", stacks[:1].repeat(2, axis=1), ["a"])
    wide, tall = imread(tmp_path / "wide.png"), imread(tmp_path / "tall.png")
    assert wide.shape[1] == 2 * tall.shape[1]
    assert tall.shape[0] > 1.8 * wide.shape[0]


def test_interrupted_drawing_leaves_the_old_picture(tmp_path):
    class Breaking:
        def savefig(self, path, **_):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    (tmp_path / "old.png").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        figures.save_figure(tmp_path / "old.png", Breaking())
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"
