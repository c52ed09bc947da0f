"""Networks that are told settings of the microscope beside the patterns."""

import keras
import numpy as np
import pytest

from cbed_tf.dataset.encoding import ENCODINGS, FLOAT32, UINT16
from cbed_tf.dataset.manifest import Statistics, load_manifest
from cbed_tf.errors import CbedError
from models import AugmentedModel, build_model, compile_model
from models.networks.fusion import FUSIONS
from models.networks.network import front_for, known_inputs
from pipelines import Augment, Augmentation, get_targets, load_dataset
from pipelines.targets import INPUTS

STATISTICS = {
    "energy_keV": Statistics((145.0,), (30.0,)),
    "d_hkls_angstrom": Statistics((2.0,) * 3, (0.5,) * 3),
}


def told(count=2):
    random = np.random.default_rng(0)
    return {
        "cbed_stack": random.random((count, 3, 24, 32)).astype(np.float32),
        "energy_keV": random.uniform(100, 190, (count, 1)).astype(np.float32),
        "d_hkls_angstrom": random.uniform(1, 4, (count, 3)).astype(np.float32),
    }


def make(fusion="mean", inputs=INPUTS, keys=("space_group",)):
    return build_model((3, 24, 32), get_targets(keys), STATISTICS, fusion=fusion, inputs=inputs)


@pytest.mark.parametrize("fusion", [*FUSIONS, "channels"])
def test_answers_depend_on_what_is_known(fusion):
    model, images = make(fusion), told()
    answer = model(images)["space_group"]
    for name in INPUTS:
        other = model({**images, name: images[name] * 1.2})["space_group"]
        assert np.abs(other - answer).max() > 1e-6, name


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_number_of_each_view_belongs_to_it(fusion):
    model, images = make(fusion), told()
    order = [2, 0, 1]
    answer = model(images)["space_group"]
    stack = images["cbed_stack"][:, order]
    distances = images["d_hkls_angstrom"][:, order]
    both = model({**images, "cbed_stack": stack, "d_hkls_angstrom": distances})["space_group"]
    np.testing.assert_allclose(both, answer, rtol=1e-4)
    assert np.abs(model({**images, "cbed_stack": stack})["space_group"] - answer).max() > 1e-6


def test_what_is_known_is_standardised_by_the_training_split():
    model = make()
    names = ["energy_keV_known", "d_hkls_angstrom_known"]
    layers = keras.Model(model.input, [model.get_layer(name).output for name in names])
    images = told(1)
    images["energy_keV"][:] = 175
    images["d_hkls_angstrom"][:] = [[2.0, 2.5, 1.0]]
    energy, distances = layers(images)
    np.testing.assert_allclose(energy, [[1.0]], rtol=1e-5)
    np.testing.assert_allclose(distances, [[0.0, 1.0, -2.0]], atol=1e-5)


def test_it_says_what_it_is_told_and_is_saved_with_it(tmp_path):
    model, images = make(inputs=["energy_keV"]), told()
    del images["d_hkls_angstrom"]
    assert known_inputs(model) == ("energy_keV",)
    assert known_inputs(make(inputs=[])) == ()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert known_inputs(again) == ("energy_keV",)
    np.testing.assert_array_equal(again(images)["space_group"], model(images)["space_group"])


def test_a_target_is_not_told():
    with pytest.raises(CbedError, match="energy_keV is among the inputs and the targets"):
        make(keys=["energy_keV"])


def test_both_fronts_answer_alike(toy_dataset, encoded_toys, tmp_path):
    manifest = load_manifest(toy_dataset)
    targets = get_targets(["space_group"])
    model = build_model(manifest.image_shape, targets, manifest.statistics, inputs=INPUTS)
    front = front_for(model, ENCODINGS[UINT16])
    assert front_for(model, ENCODINGS[FLOAT32]) is model
    assert known_inputs(front) == INPUTS
    (raw, _), (codes, _) = (
        next(iter(load_dataset(folder, "dev", 4, inputs=INPUTS)))
        for folder in (toy_dataset, encoded_toys)
    )
    assert set(codes) == {"cbed_stack", "pattern_max", *INPUTS}
    np.testing.assert_allclose(front(codes)["space_group"], model(raw)["space_group"], rtol=1e-3)
    assert [id(v) for v in front.trainable_variables] == [id(v) for v in model.trainable_variables]
    model.save(tmp_path / "model.keras")  # it is whole still


@pytest.mark.parametrize("data", ["toy_dataset", "encoded_toys"])
def test_it_learns_from_augmented_batches(request, data):
    folder = request.getfixturevalue(data)
    manifest = load_manifest(folder)
    targets = get_targets(["space_group"])
    model = build_model(manifest.image_shape, targets, manifest.statistics, inputs=INPUTS)
    augment = Augment(Augmentation.parse(["permutation", "mixup"]), seed=1)
    fitted = AugmentedModel(model, augment, manifest.encoding)
    compile_model(fitted, targets, manifest, keras.optimizers.Adam(1e-3))
    fitted.run_eagerly = True
    batch = next(iter(load_dataset(folder, "train", 4, inputs=INPUTS)))
    embedding = model.get_layer("d_hkls_angstrom_embedded").kernel
    before = np.array(embedding)
    assert np.isfinite(fitted.train_on_batch(*batch)).all()
    assert (np.array(embedding) != before).any()
    assert np.isfinite(fitted.test_on_batch(*batch)).all()
