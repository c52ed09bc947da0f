"""Augmentations by their properties: what they must do, whatever the chance."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cbed_tf import crystal
from cbed_tf.dataset.encoding import decode_stack, encode_stack
from cbed_tf.errors import CbedError
from pipelines import Augment, Augmentation, IntensityScaling, augment_dataset
from pipelines.augmentation.geometry import RandomAffine, affine_matrix, resample
from pipelines.augmentation.intensity import PoissonNoise, RandomErasing, poisson
from pipelines.augmentation.samples import MixUp, PermuteViews

SEED = (3, 14)
LAYERS = {
    "affine": RandomAffine(180, mirror=0.5, shift=0.1, ellipticity=0.1, magnification=0.2, seed=5),
    "noise": PoissonNoise(1e3, seed=5),
    "erasing": RandomErasing(0.5, seed=5),
    "permutation": PermuteViews(seed=5),
    "mixup": MixUp(0.5, seed=5),
    "all": Augment(Augmentation.parse(["usual", "mixup"]), seed=5),
}
each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
NO_SHIFT = np.zeros((1, 1, 2), np.float32)


def images_of(batch=4, views=3, height=24, width=32):
    exponents = np.random.default_rng(1).uniform(-8, 2, (batch, views, height, width))
    return (10.0**exponents).astype(np.float32)


def labels_of(batch=4, views=3):
    random = np.random.default_rng(2)
    return {
        "space_group": np.int32([151, 153, 61, 212, 0, 229])[np.arange(batch) % 6],
        "d_hkls_angstrom": random.uniform(1, 4, (batch, views)).astype(np.float32),
        "energy_keV": random.uniform(100, 190, (batch, 1)).astype(np.float32),
        "composition": np.eye(118, dtype=np.float32)[:batch],
    }


def batch_of(count=4):
    weights = {key: np.linspace(0.5, 2, count, dtype=np.float32) for key in labels_of(count)}
    return images_of(count), labels_of(count), weights


def moved(images, degrees=0.0, mirrored=False, stretch=1.0, axis=0.0, shift=(0.0, 0.0)):
    """One affine map for all patterns."""
    shape = images.shape[:2]
    matrix = affine_matrix(np.full(shape, degrees, np.float32), mirrored, stretch, axis)
    return resample(images, matrix, np.broadcast_to(np.float32(shift), (*shape, 2))).numpy()


# ---- Geometry


@pytest.mark.parametrize("quarters", [-2, -1, 0, 1, 2])
def test_quarter_turns_are_those_of_numpy_bit_by_bit(quarters):
    images = images_of(height=25, width=25)

    expected = np.rot90(images, quarters, axes=(2, 3))
    np.testing.assert_array_equal(moved(images, 90 * quarters), expected)


def test_half_a_turn_of_patterns_that_are_not_square():
    np.testing.assert_array_equal(moved(images_of(), 180), images_of()[..., ::-1, ::-1])


def test_a_mirror_is_a_flip_and_comes_before_the_rotation():
    images = images_of(height=24, width=24)

    np.testing.assert_array_equal(moved(images, mirrored=True), images[..., ::-1])
    expected = np.rot90(images[..., ::-1], axes=(2, 3))
    np.testing.assert_array_equal(moved(images, 90, mirrored=True), expected)


def test_a_shift_by_whole_pixels_is_a_roll_with_0_coming_in():
    images = images_of()
    expected = np.roll(images, (-2, 5), axis=(2, 3))
    expected[..., -2:, :] = expected[..., :5] = 0

    np.testing.assert_array_equal(moved(images, shift=(5, -2)), expected)


def test_half_a_pixel_is_the_mean_of_two():
    row = np.float32([[[[1, 3, 7, 0]]]])
    np.testing.assert_allclose(moved(row, shift=(0.5, 0)), [[[[0.5, 2, 5, 3.5]]]])


def test_turns_there_and_back_give_a_smooth_pattern_again():
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    disk = np.exp(-8 * ((x - 0.2) ** 2 + (y + 0.1) ** 2)).astype(np.float32)[None, None]

    again = moved(moved(disk, 33.3), -33.3)
    assert np.abs(again - disk)[..., 16:-16, 16:-16].max() < 0.01


def test_an_ellipse_has_the_area_and_the_axes_that_were_asked_for():
    y, x = np.mgrid[-32:32:64j, -32:32:64j]
    disk = np.exp(-(x**2 + y**2) / 32).astype(np.float32)[None, None]

    stretched = moved(disk, stretch=1.25, axis=30.0)[0, 0]
    assert stretched.sum() == pytest.approx(disk.sum(), rel=1e-3)
    share = stretched / stretched.sum()
    covariance = np.array([[(share * a * b).sum() for a in (x, y)] for b in (x, y)])
    variances, axes = np.linalg.eigh(covariance)
    # Bilinear interpolation adds a little; 16 is the variance of the disk.
    np.testing.assert_allclose(variances, [16 / 1.25**2, 16 * 1.25**2], rtol=0.02)
    assert np.rad2deg(np.arctan2(*axes[::-1, 1])) % 180 == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_determinants_keep_the_area(mirrored):
    matrix = affine_matrix(np.float32([10, 77, 200]), mirrored, 1.1, 40.0)
    np.testing.assert_allclose(np.linalg.det(matrix), -1 if mirrored else 1, rtol=1e-5)


def test_each_view_turns_and_shifts_by_itself_but_all_are_mirrored_together():
    one_pattern = np.repeat(images_of(64, 1, 16, 16), 3, axis=1)

    turned = RandomAffine(rotation=180).augment(one_pattern, SEED).numpy()
    assert np.abs(turned[:, 0] - turned[:, 1]).max(axis=(1, 2)).min() > 0
    mirrored = RandomAffine(mirror=0.5).augment(one_pattern, SEED).numpy()
    flipped = (mirrored == one_pattern[..., ::-1]).all(axis=(2, 3))
    unflipped = (mirrored == one_pattern).all(axis=(2, 3))
    assert (flipped.all(axis=1) | unflipped.all(axis=1)).all()
    assert 16 < flipped[:, 0].sum() < 48


def test_mirrored_samples_and_no_others_have_mirrored_labels():
    images = images_of(460, 1, 8, 8)
    labels = {"space_group": np.int32([*range(230)] * 2), "crystal_system": np.arange(460)}

    mirrored, changed = RandomAffine(mirror=0.5).augment((images, labels), SEED)
    flipped = (mirrored.numpy() != images).any(axis=(1, 2, 3))
    expected = [
        crystal.mirrored_space_group(label + 1) - 1 if flip else label
        for label, flip in zip(labels["space_group"], flipped, strict=True)
    ]
    assert changed["space_group"].numpy().tolist() == expected
    assert 5 < (changed["space_group"].numpy() != labels["space_group"]).sum() <= 44
    assert changed["crystal_system"] is labels["crystal_system"]


def test_lengths_shrink_as_patterns_grow():
    """The brightness falls linearly from the middle, so its slope tells the magnification."""
    x = np.abs(np.arange(65) - 32.0)
    cone = np.float32(100 - np.maximum(x, x[:, None]))
    images = np.tile(cone, (64, 3, 1, 1))
    labels = {
        "abc_angstrom": np.full((64, 3), 4.0, np.float32),
        "d_hkls_angstrom": np.float32([[1, 2, 3]] * 64),
        "angles_degree": np.full((64, 3), 90.0, np.float32),
    }

    grown, changed = RandomAffine(magnification=0.5).augment((images, labels), SEED)
    slopes = grown[:, :, 32, 32] - grown[:, :, 32, 42]
    size = 10 / slopes.numpy()
    np.testing.assert_allclose(size, size[:, :1] * np.ones(3), rtol=1e-5)
    assert 1 / 1.5 <= size.min() < 0.75
    assert 1.33 < size.max() <= 1.5
    assert 20 < (size[:, 0] > 1).sum() < 44
    np.testing.assert_allclose(changed["abc_angstrom"], 4 / size, rtol=1e-4)
    np.testing.assert_allclose(changed["d_hkls_angstrom"], [[1, 2, 3]] / size, rtol=1e-4)
    assert changed["angles_degree"] is labels["angles_degree"]


def test_mixtures_are_not_mirrored():
    mixtures = {"space_group": np.full((4, 230), 1 / 230, np.float32)}
    with pytest.raises(ValueError, match="mirror before mixing"):
        RandomAffine(mirror=0.5).augment((images_of(), mixtures), SEED)


# ---- Counting


@pytest.mark.parametrize("mean", [1e-3, 0.1, 1.0, 3.9, 4.1, 10.0, 1e3, 1e8])
def test_counts_have_mean_and_variance_of_poisson(mean):
    chance = ((np.arange(2**20) + 0.5) / 2**20).astype(np.float32)
    counts = poisson(np.full(2**20, mean, np.float32), chance).numpy().astype(float)

    assert (counts == np.round(counts)).all()
    assert counts.min() >= 0
    assert counts.mean() == pytest.approx(mean, rel=1e-3)
    assert counts.var() == pytest.approx(mean, rel=5e-3)


def test_small_counts_have_the_probabilities_of_poisson():
    chance = ((np.arange(2**20) + 0.5) / 2**20).astype(np.float32)
    counts = poisson(np.full(2**20, 2.0, np.float32), chance).numpy().astype(int)

    expected = np.exp(-2) * np.float64([1, 2, 2, 4 / 3, 2 / 3, 4 / 15])
    np.testing.assert_allclose(np.bincount(counts)[:6] / 2**20, expected, atol=2e-6)


@pytest.mark.parametrize("chance", [0.0, 1 - 2**-24])
def test_counts_at_the_ends_of_chance_are_finite(chance):
    means = np.float32([0, 1e-30, 1, 3.999, 4, 1e3, 1e10])
    counts = poisson(means, np.full(7, chance, np.float32)).numpy()

    assert np.isfinite(counts).all()
    assert counts[0] == 0
    np.testing.assert_allclose(counts[-1], 1e10, rtol=1e-4)


@pytest.mark.parametrize("dose", [1e3, 1e6])
def test_noise_by_dose(dose):
    """Relative to a pattern's total, each pixel varies by its share / dose, about its share."""
    pattern = np.float32([[1, 2, 3], [0, 10, 84]]) * 1e-5
    images = np.broadcast_to(pattern, (20_000, 1, 2, 3))

    noisy = PoissonNoise(dose).augment(images, SEED).numpy().astype(float)[:, 0]
    share, total = pattern / pattern.sum(), pattern.sum()
    error = np.sqrt(share / dose / 20_000)
    assert (np.abs(noisy.mean(axis=0) / total - share) <= 5 * error + 1e-3 * share).all()
    np.testing.assert_allclose(noisy.var(axis=0) / total**2, share / dose, rtol=0.05)
    electrons = noisy / total * dose
    np.testing.assert_allclose(electrons, np.round(electrons), atol=1e-6 * dose)


def test_noise_of_what_is_no_intensity():
    images = np.zeros((2, 1, 4, 4), np.float32)
    images[1, 0, 0] = [np.nan, -1, 0, 8]

    noisy = PoissonNoise(1e6).augment(images, SEED).numpy()
    assert (noisy[0] == 0).all()
    assert noisy[1, 0, 0, 3] == pytest.approx(8, rel=0.01)
    assert (noisy.ravel()[16:19] == 0).all()


def test_erasing_sets_one_rectangle_of_each_view_to_0():
    images = np.ones((300, 3, 48, 64), np.float32)
    erased = RandomErasing(0.3).augment(images, SEED).numpy() == 0

    areas = erased.mean(axis=(2, 3))
    assert areas.mean() == pytest.approx(0.15, abs=0.01)
    assert areas.max() < 0.32
    rows, columns = erased.any(axis=3), erased.any(axis=2)
    np.testing.assert_array_equal(erased, rows[..., None] & columns[..., None, :])
    assert (np.abs(np.diff(rows.astype(int), axis=2)).sum(axis=2) <= 2).all()
    assert np.abs(areas[:, 0] - areas[:, 1]).max() > 0.1  # each view by itself
    np.testing.assert_allclose(erased.mean(axis=(0, 1))[24, 32], 0.35, atol=0.12)  # anywhere


# ---- Whole samples


def test_permutation_keeps_the_views_and_takes_per_view_labels_with_them():
    images, labels, weights = batch_of()
    zones = np.arange(36, dtype=np.float32).reshape(4, 3, 3)
    labels["z_dirs"] = zones

    shown, told, _ = PermuteViews().augment((images, labels, weights), SEED)
    orders = []
    for k in range(4):
        order = [
            next(v for v in range(3) if (images[k, v] == view).all()) for view in shown[k].numpy()
        ]
        assert sorted(order) == [0, 1, 2]
        assert (
            told["d_hkls_angstrom"][k].numpy().tolist()
            == labels["d_hkls_angstrom"][k][order].tolist()
        )
        assert told["z_dirs"][k].numpy().tolist() == zones[k][order].tolist()
        orders.append(tuple(order))
    assert len(set(orders)) > 1
    for key in ("space_group", "energy_keV", "composition"):
        assert told[key] is labels[key]


def test_every_order_of_views_is_as_likely():
    images = np.broadcast_to(np.arange(3, dtype=np.float32)[:, None, None], (6000, 3, 1, 1))
    shown = PermuteViews().augment(images, SEED).numpy()[..., 0, 0]

    _, counts = np.unique(shown, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 150


def mixture(batch):
    """Mixes with MixUp; returns the result, and for each sample its partner and share."""
    images = batch[0]
    mixed = MixUp(0.5).augment(batch, SEED)
    flat, shown = (x.reshape(len(x), -1).astype(float) for x in (images, mixed[0].numpy()))
    partners, shares = [], []
    for k, image in enumerate(shown):
        candidates = []
        for other in range(len(flat)):
            way = flat[other] - flat[k]
            share = way @ (image - flat[k]) / max(way @ way, 1e-30)
            candidates.append((np.abs(flat[k] + share * way - image).max(), other, share))
        partners.append(min(candidates)[1])
        shares.append(min(candidates)[2])
    return mixed, np.array(partners), np.array(shares)


def test_mixup_is_a_convex_combination_of_images_and_of_shares_in_labels():
    batch = batch_of(6)[:2]
    (shown, told), other, share = mixture(batch)

    images, labels = batch
    assert (share >= -1e-6).all()
    assert (share <= 0.5 + 1e-6).all()
    assert share.max() > 0.1
    s = share[:, None, None, None]
    np.testing.assert_allclose(shown, (1 - s) * images + s * images[other], rtol=1e-4, atol=1e-4)
    label = np.eye(230)[labels["space_group"]]
    expected = (1 - share[:, None]) * label + share[:, None] * label[other]
    np.testing.assert_allclose(told["space_group"], expected, atol=1e-5)
    for key in ("energy_keV", "d_hkls_angstrom", "composition"):
        for k in range(6):
            rows = [labels[key][k].tolist(), labels[key][other[k]].tolist()]
            assert told[key][k].numpy().tolist() in rows


def test_mixed_weights_make_the_mixture_of_the_weighted_losses():
    batch = batch_of(6)
    (_, told, weights), other, share = mixture(batch)
    _, labels, before = batch
    answer = np.random.default_rng(3).dirichlet(np.ones(230), 6)

    loss = -np.log(answer)[np.arange(6)[:, None], labels["space_group"]]
    own, others = np.diag(loss), loss[np.arange(6), other]
    w = before["space_group"]
    expected = (1 - share) * w * own + share * w[other] * others
    cross_entropy = -(told["space_group"].numpy() * np.log(answer)).sum(axis=1)
    np.testing.assert_allclose(weights["space_group"] * cross_entropy, expected, rtol=1e-4)
    drawn = [np.flatnonzero(labels["energy_keV"] == e)[0] for e in told["energy_keV"].numpy()]
    np.testing.assert_array_equal(weights["energy_keV"], before["energy_keV"][drawn])


def test_a_quantity_is_drawn_by_its_share():
    images = np.zeros((20_000, 1, 1, 1), np.float32)
    labels = {"energy_keV": np.arange(20_000, dtype=np.float32)[:, None]}

    _, told = MixUp(0.5).augment((images, labels), SEED)
    assert (told["energy_keV"].numpy() != labels["energy_keV"]).mean() == pytest.approx(
        0.25, abs=0.01
    )


# ---- All of them


@each_layer
def test_off_unless_training(layer):
    batch = batch_of()

    for answer in (layer(batch), layer(batch, training=False)):
        tf.nest.map_structure(np.testing.assert_array_equal, answer, batch)
    np.testing.assert_array_equal(layer(batch[0]), batch[0])
    assert np.abs(layer(batch[0], training=True).numpy() - batch[0]).max() > 0


@pytest.mark.parametrize(
    "layer",
    [RandomAffine(), PoissonNoise(0), RandomErasing(0), PermuteViews(0), Augment(Augmentation())],
    ids=lambda layer: layer.name,
)
def test_without_strength_nothing_changes_bit_by_bit(layer):
    batch = batch_of()
    tf.nest.map_structure(np.testing.assert_array_equal, layer(batch, training=True), batch)


def test_mixing_without_a_share_changes_the_form_of_labels_alone():
    images, labels, weights = batch_of()
    shown, told, same = MixUp(0.0)((images, labels, weights), training=True)

    np.testing.assert_array_equal(shown, images)
    np.testing.assert_array_equal(told["space_group"], np.eye(230)[labels["space_group"]])
    np.testing.assert_array_equal(told["energy_keV"], labels["energy_keV"])
    tf.nest.map_structure(np.testing.assert_array_equal, same, weights)


@each_layer
def test_seeds_repeat_and_calls_differ(layer):
    again = type(layer).from_config(layer.get_config())
    again.generator.state.assign(layer.generator.state)

    first, second = (layer(images_of(), training=True).numpy() for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(again(images_of(), training=True), first)
    np.testing.assert_array_equal(again(images_of(), training=True), second)


@pytest.mark.parametrize(
    ("name", "jit"), [("all", False), *((name, True) for name in LAYERS)], ids=str
)
def test_a_graph_gives_what_eager_gives(name, jit):
    layer = LAYERS[name]
    batch = batch_of()
    compiled = tf.function(layer.augment, jit_compile=jit)

    expected, answer = layer.augment(batch, SEED), compiled(batch, SEED)
    close = {"rtol": 1e-3, "atol": 2e-3}  # XLA may fuse a product and a sum
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, **close), expected[1:], answer[1:]
    )
    # A weak pixel may have an electron more or less.
    assert (np.abs(expected[0] - answer[0]) > 2e-3 + 1e-3 * np.abs(expected[0])).mean() < 0.01


@each_layer
def test_they_are_saved_with_a_model(tmp_path, layer):
    inputs = keras.Input((3, 24, 32))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "m.keras")

    again = keras.saving.load_model(tmp_path / "m.keras")
    (loaded,) = again.layers[1:]
    assert loaded.get_config() == layer.get_config()
    np.testing.assert_array_equal(
        loaded.augment(images_of(), SEED), layer.augment(images_of(), SEED)
    )
    np.testing.assert_array_equal(again.predict(images_of(), verbose=0), images_of())


@each_layer
def test_half_precision(layer):
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
    if isinstance(layer, PoissonNoise | Augment):
        keras.config.set_dtype_policy("mixed_float16")
        try:  # raw intensities do not fit into float16, so these keep to float32 by themselves
            half = type(layer)(layer.get_config().get("dose") or layer.augmentation)
        finally:
            keras.config.set_dtype_policy("float32")
        assert half(images_of(), training=True).dtype == "float32"
        return
    roots = images_of() ** 0.25
    answer = half.augment((roots, labels_of()), SEED)
    assert answer[0].dtype == "float16"
    assert answer[1]["energy_keV"].dtype == "float32"
    np.testing.assert_allclose(answer[0], layer.augment(roots, SEED), atol=2e-3)


@pytest.mark.parametrize("name", ["affine", "noise", "all"])
def test_a_network_of_ones_own_fits_with_them(name):
    layer = LAYERS[name]
    model = keras.Sequential(
        [
            keras.Input((3, 24, 32)),
            type(layer).from_config(layer.get_config()),
            IntensityScaling(),
            keras.layers.GlobalAveragePooling2D(data_format="channels_first"),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", "mse", jit_compile=False)  # quicker; XLA has a test of its own
    history = model.fit(images_of(), np.zeros((4, 2)), verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_labels_that_are_no_dict_are_refused():
    with pytest.raises(ValueError, match="augment a batch before picking from its labels"):
        PermuteViews()((images_of(), np.arange(4)), training=True)


# ---- The options, and data sets


def dataset_of(images, count=12):
    labels = labels_of(count)
    whole = tf.data.Dataset.from_tensor_slices((images, labels))
    return whole.batch(4)


def test_a_dataset_is_augmented_anew_in_each_iteration_and_alike_for_a_seed():
    source = dataset_of(images_of(12))
    strong = Augmentation.parse(["permutation", "mixup", "erasing"])
    dataset = augment_dataset(source, strong, seed=4)

    assert dataset.cardinality() == 3
    first, second = ([np.array(images) for images, _ in dataset] for _ in range(2))
    assert all((a != b).any() for a, b in zip(first, second, strict=True))
    assert (first[0] != first[1]).any()
    again = augment_dataset(source, strong, seed=4)
    for a, (b, labels) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert labels["space_group"].shape == (4, 230)
    other = next(iter(augment_dataset(source, strong, seed=5)))[0]
    assert (other.numpy() != first[0]).any()


def test_16_bit_patterns_become_intensities_and_are_augmented_like_raw_ones():
    encoded = [encode_stack(stack) for stack in images_of()]
    codes, largest = (np.stack(parts) for parts in zip(*encoded, strict=True))
    raw = decode_stack(codes, largest)
    batch = {"cbed_stack": codes, "pattern_max": largest}
    for words in (["noise:1e4"], ["rotation", "shift"], ["erasing"]):
        augment = Augment(Augmentation.parse(words))
        answer = augment.augment(batch, SEED).numpy()
        np.testing.assert_allclose(answer, augment.augment(raw, SEED), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(augment(batch), raw, rtol=1e-5)


def test_a_model_of_16_bit_patterns_holds_them():
    inputs = {
        "cbed_stack": keras.Input((3, 24, 32), name="cbed_stack", dtype="uint16"),
        "pattern_max": keras.Input((3,), name="pattern_max"),
    }
    roots = IntensityScaling()(Augment(Augmentation.parse(["usual"]))(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(roots))
    model.compile("adam", "mse", jit_compile=False)
    codes, largest = encode_stack(images_of()[0])
    batch = {"cbed_stack": codes[None], "pattern_max": largest[None]}
    model.fit(batch, np.zeros((1, 32)), verbose=0)
    expected = (decode_stack(codes, largest) ** 0.25).mean(axis=(0, 1))
    np.testing.assert_allclose(model.predict(batch, verbose=0)[0], expected, rtol=1e-4)


def test_one_augmentation_more_leaves_the_chance_of_the_others():
    one, two = (
        Augment(Augmentation.parse(words)).augment((images_of(), labels_of()), SEED)
        for words in (["permutation"], ["permutation", "noise:1e12"])
    )
    np.testing.assert_array_equal(one[1]["d_hkls_angstrom"], two[1]["d_hkls_angstrom"])
    assert (one[0].numpy() != two[0].numpy()).any()


def test_words_are_strengths():
    assert Augmentation.parse([]) == Augmentation()
    assert not Augmentation()
    assert Augmentation.parse(["rotation", "noise:1e5"]).strengths() == {
        "rotation": 180.0,
        "noise": 1e5,
    }
    usual = Augmentation.parse(["usual", "shift:0"])
    assert set(usual.strengths()) == {
        "rotation", "mirror", "ellipticity", "magnification", "permutation", "noise", "erasing",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rotate"], "augment has 'rotate', should be some of usual, rotation, mirror, shift"),
        (["noise:many"], "augment has 'noise:many', should be like 'noise:1e5'"),
        (["noise:"], "augment has 'noise:', should be like"),
        (["rotation:181"], "rotation is 181.0, should be from 0 to 180"),
        (["mixup:nan"], "mixup is nan, should be from 0 to 0.5"),
        (["noise:-1"], "noise is -1.0, should be from 0 to 1e[+]12"),
    ],
)
def test_refusals_say_value_and_range(words, message):
    with pytest.raises(CbedError, match=message):
        Augmentation.parse(words)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomAffine(rotation=-1),
        lambda: RandomAffine(mirror=2),
        lambda: RandomAffine(shift=0.6),
        lambda: RandomAffine(ellipticity=1),
        lambda: RandomAffine(magnification=-0.1),
        lambda: PoissonNoise(-5),
        lambda: RandomErasing(0.6),
        lambda: PermuteViews(1.5),
        lambda: MixUp(0.7),
    ],
)
def test_layers_refuse_strengths_out_of_range(make):
    with pytest.raises(ValueError, match="should be from 0 to"):
        make()
