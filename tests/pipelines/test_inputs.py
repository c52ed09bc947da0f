"""Known inputs beside the images: from both readers, changed with the patterns they belong to."""

import numpy as np
import pytest
import tensorflow as tf

from cbed_tf.dataset.encoding import decode_stack, encode_stack
from cbed_tf.dataset.manifest import load_index
from cbed_tf.errors import CbedError
from pipelines import Augment, Augmentation, IntensityScaling, load_dataset
from pipelines.augmentation.samples import MixUp, PermuteViews
from pipelines.targets import INPUTS

SEED = (3, 14)


def told_batch(count=4, views=3):
    """Patterns that hold one number each, which the d-spacings repeat."""
    numbers = np.arange(1, count * views + 1, dtype=np.float32).reshape(count, views)
    images = np.broadcast_to(numbers[..., None, None], (count, views, 4, 6)).astype(np.float32)
    energies = np.arange(count, dtype=np.float32)[:, None] + 100
    known = {"d_hkls_angstrom": numbers, "energy_keV": energies}
    return {"cbed_stack": images, **known}, {"space_group": np.arange(count, dtype=np.int32) % 230}


@pytest.mark.parametrize("reader", ["gather", "stream"])
@pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])
def test_known_inputs_come_beside_the_patterns(request, data, reader):
    folder = request.getfixturevalue(data)
    plain = load_dataset(folder, "dev", 5, reader=reader)
    told = load_dataset(folder, "dev", 5, reader=reader, inputs=INPUTS)
    energies, distances = [], []
    for (images, labels), (alone, same) in zip(told, plain, strict=True):
        energies.append(images.pop("energy_keV"))
        distances.append(images.pop("d_hkls_angstrom"))
        alone = alone if isinstance(alone, dict) else {"cbed_stack": alone}
        tf.nest.map_structure(np.testing.assert_array_equal, images, alone)
        tf.nest.map_structure(np.testing.assert_array_equal, labels, same)
    columns = load_index(folder, "dev", INPUTS)
    np.testing.assert_array_equal(np.concatenate(energies), columns["energy_keV"][:, None])
    np.testing.assert_array_equal(np.concatenate(distances), columns["d_hkls_angstrom"])
    assert told.element_spec[0]["energy_keV"].shape.as_list() == [None, 1]


@pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])
def test_scaled_patterns_have_them_too(request, data):
    folder = request.getfixturevalue(data)
    (images, _), (alone, _) = (
        next(iter(load_dataset(folder, "dev", 4, inputs=inputs, scaled=True)))
        for inputs in (["energy_keV"], [])
    )
    assert set(images) == {"cbed_stack", "energy_keV"}
    np.testing.assert_array_equal(images["cbed_stack"], alone)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["abc_angstrom"], "inputs are .*'abc_angstrom'.* some of energy_keV, d_hkls_angstrom"),
        (["energy_keV", "energy_keV"], "once"),
        (["d_hkls_angstrom"], "d_hkls_angstrom is among the inputs and the targets"),
    ],
)
def test_wrong_inputs_are_refused(sample_dataset, inputs, message):
    with pytest.raises(CbedError, match=message):
        load_dataset(sample_dataset, "dev", 4, targets=["d_hkls_angstrom"], inputs=inputs)


def test_views_take_what_is_known_of_them_along():
    batch = told_batch()
    images, labels = PermuteViews().augment(batch, SEED)
    assert set(labels) == {"space_group"}
    np.testing.assert_array_equal(images["d_hkls_angstrom"], images["cbed_stack"][:, :, 0, 0])
    assert (images["d_hkls_angstrom"].numpy() != batch[0]["d_hkls_angstrom"]).any()
    np.testing.assert_array_equal(images["energy_keV"], batch[0]["energy_keV"])


def test_a_mixture_is_told_of_one_of_its_samples_by_their_shares():
    """Like a label: between two energies lies one that neither crystal was seen at."""
    count = 400
    batch = told_batch(count)
    images, labels = MixUp(0.5).augment(batch, SEED)
    own = np.arange(count)
    chosen = images["energy_keV"].numpy()[:, 0].astype(int) - 100
    np.testing.assert_array_equal(
        images["d_hkls_angstrom"], batch[0]["d_hkls_angstrom"][chosen]
    )  # of the same sample
    share_of_chosen = labels["space_group"].numpy()[own, chosen % 230]
    assert (share_of_chosen > 0).all()
    assert 0.15 < (chosen != own).mean() < 0.35  # a quarter of the samples, on average


def test_the_first_layer_leaves_them_out():
    images, _ = told_batch()
    expected = images["cbed_stack"] ** 0.25
    np.testing.assert_allclose(IntensityScaling()(images), expected, rtol=1e-6)


@pytest.mark.parametrize("is_encoded", [False, True])
def test_all_augmentations_pass_them_through(is_encoded):
    augment = Augment(Augmentation.parse(["usual", "mixup"]))
    (images, labels), weights = told_batch(), {"space_group": np.ones(4, np.float32)}
    if is_encoded:
        pairs = [encode_stack(stack) for stack in images["cbed_stack"]]
        codes, largest = (np.stack(column) for column in zip(*pairs, strict=True))
        images = {**images, "cbed_stack": codes, "pattern_max": largest}
    changed, *_ = augment.augment((images, labels, weights), SEED)
    assert set(changed) == {"cbed_stack", *INPUTS}
    assert changed["cbed_stack"].dtype == "float32"

    same, *_ = augment((images, labels, weights), training=False)
    np.testing.assert_array_equal(same["energy_keV"], images["energy_keV"])
    if is_encoded:
        expected = decode_stack(images["cbed_stack"], images["pattern_max"])
        np.testing.assert_allclose(same["cbed_stack"], expected, rtol=1e-5)
