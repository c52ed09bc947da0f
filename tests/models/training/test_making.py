"""The settings of a training reach the network and its loss."""

import dataclasses

import keras
import pytest

from cbed_tf.dataset.manifest import load_manifest
from models import AugmentedModel
from models.learning.options import TrainingOptions
from models.networks.network import known_inputs
from models.training.making import make_models

OPTIONS = TrainingOptions(
    targets=("space_group", "point_group", "abc_angstrom"),
    inputs=("energy_keV",),
    fusion="softmax_mean",
    dropout=0.25,
    uncertainty=True,
    scaling="log",
    floor=1e-3,
    target_weights={"abc_angstrom": 0.5},
    loss_weighting="learned",
    label_smoothing=0.1,
    logit_adjustment=1.0,
    augment={"rotation": 10.0},
)


@pytest.fixture(scope="module")
def made(encoded_toys):
    return make_models(load_manifest(encoded_toys), OPTIONS, updates=10)


def test_the_network_is_what_was_asked_for(made):
    model, fitted = made
    assert known_inputs(model) == ("energy_keV",)
    assert list(model.output) == ["space_group", "point_group", "abc_angstrom", "abc_angstrom_std"]
    assert model.get_layer("intensity_scaling").floor == 1e-3
    assert model.get_layer("dropout").rate == 0.25
    assert model.get_layer("abc_angstrom_std").__class__.__name__ == "DeviationOverViews"
    assert isinstance(fitted, AugmentedModel)
    assert set(fitted.front.input) == {"cbed_stack", "pattern_max", "energy_keV"}


def test_so_is_the_loss(made):
    objective = made[1].objective
    assert objective.target_weights == {"space_group": 1, "point_group": 1, "abc_angstrom": 0.5}
    assert set(objective.log_variances) == {"space_group", "point_group"}
    space_group, point_group, _ = objective.loss_of.values()
    assert space_group.smoothing.shape == (230, 230)
    assert point_group.smoothing is None
    assert point_group.is_marginal
    assert space_group.adjustment.tolist() == point_group.adjustment.tolist()


def test_plain_options_make_a_plain_model(toy_dataset):
    model, fitted = make_models(load_manifest(toy_dataset), TrainingOptions(), updates=10)
    assert not isinstance(fitted, AugmentedModel)
    assert not model.compiled
    assert not fitted.objective.log_variances
    (loss,) = fitted.objective.loss_of.values()
    assert loss.adjustment is loss.smoothing is None
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


def test_the_policy_is_that_of_the_model_only(toy_dataset):
    options = dataclasses.replace(TrainingOptions(), mixed_precision=True)
    model, _ = make_models(load_manifest(toy_dataset), options, updates=10)
    assert model.get_layer("fused").compute_dtype == "float16"
    assert model.get_layer("space_group").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
