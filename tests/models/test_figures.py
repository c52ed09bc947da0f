import numpy as np
import pytest
from matplotlib.image import imread

from models import figures


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
