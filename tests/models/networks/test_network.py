import keras
import numpy as np
import pytest

from cbed_tf.dataset.manifest import Manifest, Statistics, load_manifest
from cbed_tf.errors import CbedError
from models import build_model, compile_model
from models.learning.learner import Learner
from models.networks.fusion import FUSIONS
from models.networks.network import learning_form
from models.networks.probabilities import coarsen
from pipelines import TARGETS, IntensityScaling, load_dataset
from pipelines.targets import QUANTITY, get_targets


def statistics_for(views):
    sizes = {key: t.size(views) for key, t in TARGETS.items() if t.kind == QUANTITY}
    return {key: Statistics((10.0,) * size, (2.0,) * size) for key, size in sizes.items()}


def images(views=3, height=24, width=32, count=2):
    """Raw intensities over many orders of magnitude."""
    exponents = np.random.default_rng(1).uniform(-12, 2, (count, views, height, width))
    return (10.0**exponents).astype(np.float32)


@pytest.mark.parametrize("views", [1, 3, 5])
def test_every_target_has_its_shape(views):
    model = build_model((views, 24, 32), get_targets(TARGETS), statistics_for(views))
    answers = model.predict(images(views), verbose=0)
    assert {key: answer.shape for key, answer in answers.items()} == {
        key: (2, target.size(views)) for key, target in TARGETS.items()
    }
    for key in ("space_group", "crystal_system", "point_group", "composition"):
        np.testing.assert_allclose(answers[key].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_order_of_views_changes_only_the_order_of_per_view_answers(fusion):
    targets = get_targets(["space_group", "d_hkls_angstrom"])
    model = build_model((3, 24, 32), targets, statistics_for(3), fusion=fusion)
    order = [2, 0, 1]
    stacks = images()
    answers, permuted = model(stacks), model(stacks[:, order])
    np.testing.assert_allclose(permuted["space_group"], answers["space_group"], rtol=1e-4)
    expected = answers["d_hkls_angstrom"].numpy()[:, order]
    np.testing.assert_allclose(permuted["d_hkls_angstrom"], expected, rtol=1e-4)
    assert np.ptp(expected, axis=1).min() > 1e-3  # the views do differ


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_missing_view_changes_nothing_whatever_its_place(fusion):
    targets = get_targets(["space_group", "composition", "abc_angstrom", "d_hkls_angstrom"])
    model = build_model((3, 24, 32), targets, statistics_for(3), fusion=fusion)
    two = images()
    two[:, 1] = 0
    answers, moved = model(two), model(two[:, [1, 0, 2]])
    for key in ("space_group", "composition", "abc_angstrom"):
        np.testing.assert_allclose(moved[key], answers[key], rtol=1e-4)
    seen = [answers["d_hkls_angstrom"].numpy()[:, 2], moved["d_hkls_angstrom"].numpy()[:, 2]]
    np.testing.assert_allclose(*seen, rtol=1e-4)

    alone = build_model((2, 24, 32), targets, statistics_for(2), fusion=fusion)
    alone.set_weights(model.get_weights())
    np.testing.assert_allclose(
        alone(two[:, [0, 2]])["space_group"], answers["space_group"], rtol=1e-4
    )
    assert np.isfinite(model(np.zeros_like(two))["space_group"]).all()


def test_channels_are_one_encoder_of_all_views():
    targets = get_targets(["space_group", "d_hkls_angstrom"])
    model = build_model((3, 24, 32), targets, statistics_for(3), fusion="channels")
    assert model.get_layer("small").input_shape == (None, 24, 32, 3)
    answers = model(images())
    assert answers["d_hkls_angstrom"].shape == (2, 3)
    assert np.abs(model(images()[:, ::-1])["space_group"] - answers["space_group"]).max() > 1e-6


@pytest.mark.parametrize("fusion", [*FUSIONS, "channels"])
def test_every_quantity_has_a_deviation_if_wanted(fusion):
    targets = get_targets(["space_group", "d_hkls_angstrom", "abc_angstrom"])
    model = build_model((2, 24, 32), targets, statistics_for(2), fusion=fusion, uncertainty=True)
    assert list(model.output) == [
        "space_group", "d_hkls_angstrom", "d_hkls_angstrom_std", "abc_angstrom", "abc_angstrom_std",
    ]  # fmt: skip
    answers = model(images(2))
    for key in ("d_hkls_angstrom", "abc_angstrom"):
        assert answers[f"{key}_std"].shape == answers[key].shape
        assert np.all(answers[f"{key}_std"] >= 0.02)  # a hundredth of the training split's


def test_an_unknown_fusion_is_refused():
    with pytest.raises(CbedError, match="fusion is 'sum', should be one of mean, attention"):
        build_model((3, 24, 32), get_targets(["space_group"]), {}, fusion="sum")


def test_dropout_acts_in_training_alone():
    targets = get_targets(["space_group", "d_hkls_angstrom"])
    model = build_model((3, 24, 32), targets, statistics_for(3), dropout=0.5)
    for key in ("space_group", "d_hkls_angstrom"):
        once, again = (model(images(), training=True)[key] for _ in range(2))
        assert np.abs(once - again).max() > 0
        np.testing.assert_array_equal(model(images())[key], model(images())[key])


def test_coarser_classes_are_sums_of_space_groups():
    keys = ["crystal_system", "space_group", "point_group"]
    model = build_model((3, 24, 32), get_targets(keys), {})
    answers = model.predict(images(), verbose=0)
    assert list(model.output) == keys
    for key in ("crystal_system", "point_group"):
        expected = coarsen(TARGETS[key], answers["space_group"])
        np.testing.assert_allclose(answers[key], expected, rtol=1e-4)


def test_the_learning_form_shares_the_weights_and_answers_more():
    model = build_model((3, 24, 32), get_targets(["space_group", "composition"]), {})
    learning = learning_form(model)
    assert [id(v) for v in learning.variables] == [id(v) for v in model.variables]
    answers, more = model(images()), learning(images())
    for key in ("space_group", "composition"):
        np.testing.assert_array_equal(more[key], answers[key])
        np.testing.assert_allclose(np.exp(more[f"{key}_logarithms"]), answers[key], rtol=1e-6)
    assert more["composition_presence"].shape == (2, 118)


@pytest.mark.parametrize(
    ("policy", "fusion"),
    [
        ("float32", "mean"),
        ("mixed_float16", "attention"),
        ("float32", "softmax_mean"),
        ("mixed_float16", "channels"),
    ],
)
def test_saved_model_answers_the_same(tmp_path, policy, fusion):
    keras.config.set_dtype_policy(policy)
    try:
        scaling = IntensityScaling("log", floor=1e-9, name="intensity_scaling")
        model = build_model(
            (3, 24, 32),
            get_targets(TARGETS),
            statistics_for(3),
            scaling=scaling,
            fusion=fusion,
            dropout=0.1,
            uncertainty=True,
        )
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    answers, reloaded = model.predict(images(), verbose=0), again.predict(images(), verbose=0)
    for key, answer in answers.items():
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, reloaded[key])


def test_resnet50_stands_behind_the_same_interface():
    targets = get_targets(["crystal_system", "d_hkls_angstrom"])
    model = build_model((2, 32, 40), targets, statistics_for(2), backbone="resnet50")
    answers = model(images(2, 32, 40))
    assert answers["crystal_system"].shape == (2, 7)
    assert answers["d_hkls_angstrom"].shape == (2, 2)


@pytest.mark.parametrize("key", TARGETS)
def test_a_few_steps_lower_the_loss_of_each_target(key, toy_dataset):
    manifest: Manifest = load_manifest(toy_dataset)
    targets = get_targets([key])
    keras.utils.set_random_seed(0)
    model = Learner(build_model(manifest.image_shape, targets, manifest.statistics))
    compile_model(model, targets, manifest, keras.optimizers.Adam(1e-4))
    model.run_eagerly = True  # quicker than tracing a graph for three steps
    batch = next(iter(load_dataset(toy_dataset, "train", 8, targets=[key])))
    losses = [model.train_on_batch(*batch, return_dict=True)["loss"] for _ in range(3)]
    assert np.isfinite(losses).all()
    assert model.test_on_batch(*batch, return_dict=True)["loss"] < losses[0]


@pytest.mark.parametrize("fusion", [*FUSIONS, "channels"])
def test_all_layers_have_names_of_ours(fusion):
    """Keras numbers the names that it gives itself, so those of a second model are others."""
    targets = get_targets(key for key in TARGETS if key != "energy_keV")
    one, two = (
        build_model(
            (3, 24, 32),
            targets,
            statistics_for(3),
            fusion=fusion,
            dropout=0.1,
            uncertainty=True,
            inputs=["energy_keV"],
        )
        for _ in range(2)
    )
    names = [{layer.name for layer in model.layers} for model in (one, two)]
    assert names[0] ^ names[1] == set()
