"""Training on augmented batches: on the device, with labels, and in training alone."""

import csv

import keras
import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.dataset.manifest import load_manifest
from models import AugmentedModel, build_model, compile_model, load_trained_model
from pipelines import Augment, Augmentation, IntensityScaling, get_targets, load_dataset

EVERYTHING = "usual,mixup"
KEYS = ("space_group", "d_hkls_angstrom", "composition")  # a kind of label each


@pytest.fixture(scope="module")
def augmented_run(encoded_toys):
    """A run of two epochs on 16-bit patterns with every augmentation; not to be changed."""
    folder = encoded_toys.parent / "augmented_run"
    words = [f"--data_dir={encoded_toys}", f"--run_dir={folder}", f"--targets={','.join(KEYS)}"]
    words += [f"--augment={EVERYTHING}", "--class_weights=balanced"]
    assert main(["train", *words, "--epochs=2", "--batch_size=4", "--seed=3"]) == 0
    return folder


def build(folder, keys):
    manifest = load_manifest(folder)
    keras.utils.set_random_seed(0)
    targets = get_targets(keys)
    return build_model(manifest.image_shape, targets, manifest.statistics), targets, manifest


def test_a_run_learns_from_labels_of_every_kind(augmented_run):
    with (augmented_run / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    assert {f"val_{key}_loss" for key in KEYS} <= set(rows[0])
    assert all(np.isfinite(float(number)) for row in rows for number in row.values())


def test_the_saved_model_knows_of_no_augmentation(augmented_run, toy_dataset):
    model = load_trained_model(augmented_run)
    assert not [name for name in (x.name for x in model.layers) if "augment" in name]
    images = next(iter(load_dataset(toy_dataset, "test", 4)))[0]
    once, again = (model(images, training=True) for _ in range(2))
    np.testing.assert_array_equal(once["space_group"], again["space_group"])
    assert (augmented_run / "run.flags").read_text().count("--augment=rotation:180.0,") == 1


def test_half_precision_is_for_the_layers_and_not_for_raw_intensities():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        images = keras.Input((3, 24, 32), dtype="float32")
        roots = IntensityScaling()(images)
        model = keras.Model(images, {"energy_keV": keras.layers.GlobalAveragePooling2D()(roots)})
        fitted = AugmentedModel(model, Augment(Augmentation(noise=1e4)))
    finally:
        keras.config.set_dtype_policy("float32")
    bright = np.full((1, 3, 24, 32), 1e6, np.float32)
    np.testing.assert_allclose(fitted(bright)["energy_keV"], 1e6**0.25, rtol=2e-3)
    fitted.compile("sgd", "mse", run_eagerly=True)
    losses = fitted.train_on_batch(bright, {"energy_keV": np.full((1, 32), 31.6, np.float32)})
    assert np.isfinite(losses).all()


def test_training_changes_batches_and_evaluation_does_not(toy_dataset):
    model, targets, manifest = build(toy_dataset, ["space_group"])
    seen = []

    class Spy(AugmentedModel):
        def compute_loss(self, x=None, y=None, *rest, **more):
            seen.append((x.numpy(), y["space_group"].shape))
            return super().compute_loss(x, y, *rest, **more)

    fitted = Spy(model, Augment(Augmentation.parse(EVERYTHING.split(","))))
    compile_model(fitted, targets, manifest, keras.optimizers.SGD(1e-3))
    fitted.run_eagerly = True
    data = load_dataset(toy_dataset, "train", 4)
    stored = [images.numpy() for images, _ in data]
    fitted.fit(data.take(2), verbose=0)
    assert [shape for _, shape in seen] == [(4, 230)] * 2
    assert all((images != before).any() for (images, _), before in zip(seen, stored, strict=True))

    expected = model.predict(data, verbose=0)["space_group"]
    np.testing.assert_array_equal(fitted.predict(data, verbose=0)["space_group"], expected)
    seen.clear()
    fitted.evaluate(data, verbose=0)
    for (images, shape), before in zip(seen, stored, strict=True):
        np.testing.assert_array_equal(images, before)
        assert shape == (4,)


def test_weights_are_shared(toy_dataset):
    model, targets, manifest = build(toy_dataset, ["energy_keV"])
    before = [weight.copy() for weight in model.get_weights()]
    fitted = AugmentedModel(model, Augment(Augmentation(erasing=0.2), seed=1))
    compile_model(fitted, targets, manifest, keras.optimizers.SGD(1e-3))
    fitted.jit_compile = False  # quicker
    fitted.fit(load_dataset(toy_dataset, "train", 4, targets=["energy_keV"]), verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    # One seed a step and none besides, so that `cbed preview` draws what a training will see.
    assert fitted.augment.generator.state.numpy().tolist() == [1, 2]


def test_a_network_of_ones_own_learns_from_whole_batches_and_seeds_repeat_it(toy_dataset):
    data = load_dataset(toy_dataset, "train", 4, targets=["crystal_system"])

    def losses(seed):
        keras.utils.set_random_seed(0)
        images = keras.Input((3, 24, 32))
        flat = keras.layers.Flatten()(IntensityScaling()(images))
        own = keras.Model(images, {"crystal_system": keras.layers.Dense(7, "softmax")(flat)})
        fitted = AugmentedModel(own, Augment(Augmentation(mixup=0.5, rotation=30), seed))
        fitted.compile("sgd", "categorical_crossentropy", jit_compile=False)
        return fitted.fit(data, epochs=2, verbose=0).history["loss"]

    first = losses(seed=1)
    assert np.isfinite(first).all()
    assert losses(seed=1) == first != losses(seed=2)


def test_wrong_strengths_are_usage_errors(toy_dataset, tmp_path, capsys):
    common = [f"--data_dir={toy_dataset}", f"--run_dir={tmp_path / 'run'}"]
    for flag, message in (
        ("--augment=blur", "--augment has 'blur', should be some of usual, rotation"),
        ("--augment=shift:2", "shift is 2.0, should be from 0 to 0.5"),
    ):
        assert main(["train", *common, flag]) == 2
        assert message in capsys.readouterr().err


def test_the_help_names_every_augmentation():
    from models.commands.train import FLAGS

    for name in Augmentation.parse(EVERYTHING.split(",")).strengths():
        assert name in FLAGS["augment"].help
