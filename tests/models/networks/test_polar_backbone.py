import numpy as np

from models.networks.backbones.polar import polar


def random_patterns(*shape):
    return np.random.default_rng(0).random((*shape, 1), np.float32)


def test_quarter_turns_change_no_feature():
    encoder = polar(48, 48, 1)
    patterns = random_patterns(2, 48, 48)
    upright = encoder(patterns).numpy()
    assert upright.std() > 0.01
    for quarters in (1, 2, 3):
        turned = encoder(np.rot90(patterns, quarters, axes=(1, 2)))
        np.testing.assert_allclose(turned, upright, atol=1e-4)


def test_another_symmetry_changes_features():
    """The same disks, twofold and fourfold about the beam."""
    down, right = np.indices((48, 48)) - 23.5
    angle, ring = np.arctan2(down, right), np.exp(-((np.hypot(down, right) - 8) ** 2) / 4)
    twofold, fourfold = (ring * (1 + np.cos(n * angle)) for n in (2, 4))
    patterns = np.stack([twofold, fourfold]).astype(np.float32)[..., None]
    first, second = polar(48, 48, 1)(patterns).numpy()
    assert np.abs(first - second).max() > 0.1 * np.abs(first).max()


def test_weights_do_not_grow_with_large_patterns():
    assert polar(512, 512, 1).count_params() == polar(128, 128, 1).count_params()


def test_channels_are_seen_together():
    assert polar(32, 40, 3)(random_patterns(2, 32, 40)[..., [0] * 3]).shape == (2, 256)
