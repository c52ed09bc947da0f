import numpy as np
import pytest

from cbed_tf.dataset.manifest import load_index, load_manifest
from models import build_model, load_trained_model
from models.evaluation import answers as answers_module
from models.evaluation.answers import ask, main_target
from models.evaluation.worst import severities
from pipelines import TARGETS, IntensityScaling, get_targets, load_dataset


@pytest.fixture(scope="module")
def model(toy_run):
    return load_trained_model(toy_run)


@pytest.mark.parametrize("batch_size", [3, 99])
def test_answers_are_those_of_the_whole_split_in_the_order_of_its_index(
    model, toy_dataset, batch_size
):
    answers = ask(model, toy_dataset, load_manifest(toy_dataset), "train", batch_size)
    images, labels = next(iter(load_dataset(toy_dataset, "train", 99, targets=list(TARGETS))))
    for name, expected in model.predict_on_batch(images.numpy()).items():
        np.testing.assert_allclose(answers.predicted[name], expected, rtol=1e-3, atol=1e-5)
    for key, label in labels.items():
        np.testing.assert_array_equal(answers.labels[key], label)
    index = load_index(toy_dataset, "train")
    assert (answers.samples, answers.materials) == (8, 4)
    for first in range(8):
        same = index["material"] == index["material"][first]
        np.testing.assert_array_equal(answers.groups == answers.groups[first], same)


def test_mistakes_come_with_their_own_patterns(model, toy_dataset):
    manifest = load_manifest(toy_dataset)
    answers = ask(model, toy_dataset, manifest, "train", 3, mistakes=2)
    images, _ = next(iter(load_dataset(toy_dataset, "train", 99)))
    wrong = severities(
        TARGETS["space_group"], answers.predicted["space_group"], answers.labels["space_group"], {}
    )
    materials = load_index(toy_dataset, "train")["material"]
    found = answers.mistakes
    assert 1 <= len(found) == min(2, len(set(materials[wrong > 0])))
    assert found[0].row == wrong.argmax()
    assert len({materials[mistake.row] for mistake in found}) == len(found)
    for mistake in found:
        assert mistake.severity == pytest.approx(wrong[mistake.row])
        np.testing.assert_array_equal(mistake.stack, images[mistake.row])


def test_an_answer_is_no_mistake_where_nothing_is_known(model, toy_dataset, monkeypatch):
    def without_space_groups(*arguments):
        columns = load_index(*arguments)
        return {**columns, "space_group": 0 * columns["space_group"]}

    monkeypatch.setattr(answers_module, "load_index", without_space_groups)
    assert ask(model, toy_dataset, load_manifest(toy_dataset), "test", 3).mistakes == ()


def test_patterns_of_mistakes_are_decoded(model, toy_dataset, encoded_toys):
    answers = ask(model, encoded_toys, load_manifest(encoded_toys), "train", 8)
    row = answers.mistakes[0].row
    sample_id = answers.columns["sample_id"][row]
    raw = ask(model, toy_dataset, load_manifest(toy_dataset), "train", 8, mistakes=99)
    (same,) = (m for m in raw.mistakes if raw.columns["sample_id"][m.row] == sample_id)
    scale = same.stack.max(axis=(1, 2), keepdims=True) ** 0.25
    np.testing.assert_allclose(
        answers.mistakes[0].stack ** 0.25 / scale, same.stack**0.25 / scale, atol=1e-5
    )


@pytest.mark.parametrize("dataset", ["toy_dataset", "encoded_toys"])
def test_models_are_told_what_they_take_beside_the_patterns(dataset, request):
    data_dir = request.getfixturevalue(dataset)
    manifest = load_manifest(data_dir)
    targets = get_targets(["abc_angstrom"])
    told = ("energy_keV", "d_hkls_angstrom")
    model = build_model(manifest.image_shape, targets, manifest.statistics, inputs=told)
    answers = ask(model, data_dir, manifest, "test", 3)

    index = load_index(data_dir, "test")
    loaded, _ = next(iter(load_dataset(data_dir, "test", 99)))
    images = IntensityScaling("none", dtype="float32")(loaded)
    known = {"energy_keV": index["energy_keV"][:, None], "d_hkls_angstrom": index[told[1]]}
    expected = model.predict_on_batch({"cbed_stack": images.numpy(), **known})["abc_angstrom"]
    np.testing.assert_allclose(answers.predicted["abc_angstrom"], expected, rtol=1e-3)
    others = model.predict_on_batch(
        {"cbed_stack": images.numpy(), **known, "energy_keV": known["energy_keV"] + 50}
    )
    assert np.abs(others["abc_angstrom"] - expected).max() > 1e-2
    mistake = answers.mistakes[0]
    np.testing.assert_allclose(mistake.stack, images[mistake.row], rtol=1e-5)


def test_mistakes_are_about_space_groups_or_else_classes():
    targets = [TARGETS[key] for key in ("energy_keV", "crystal_system", "space_group")]
    assert main_target(tuple(targets)).key == "space_group"
    assert main_target(tuple(targets[:2])).key == "crystal_system"
    assert main_target(tuple(targets[:1])).key == "energy_keV"
