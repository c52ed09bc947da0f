"""Training, judging and asking on 16-bit patterns: the model that is kept takes raw intensities."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.dataset.encoding import ENCODINGS, FLOAT32, UINT16, encode_stack
from cbed_tf.dataset.manifest import load_index, load_manifest
from models import build_model, load_trained_model
from models.networks.network import front_for
from pipelines import IntensityScaling, get_targets, load_dataset

TARGETS = ["space_group", "d_hkls_angstrom", "energy_keV"]


@pytest.fixture(scope="module")
def encoded_run(encoded_toys):
    """A run of two epochs on it; not to be changed."""
    folder = encoded_toys.parent / "run"
    words = [f"--data_dir={encoded_toys}", f"--run_dir={folder}", f"--targets={','.join(TARGETS)}"]
    assert main(["train", *words, "--epochs=2", "--batch_size=4", "--seed=3"]) == 0
    return folder


def answers_for(model, dataset):
    return model.predict(dataset.map(lambda images, _: images), verbose=0)


@pytest.mark.parametrize(
    "scaling", [{}, {"method": "log", "floor": 1e-3}, {"exponent": 0.5}], ids=str
)
def test_both_fronts_answer_alike(toy_dataset, encoded_toys, scaling):
    manifest = load_manifest(toy_dataset)
    targets = get_targets(TARGETS)
    layer = IntensityScaling(**scaling, name="intensity_scaling")
    model = build_model(manifest.image_shape, targets, manifest.statistics, scaling=layer)
    from_raw = answers_for(model, load_dataset(toy_dataset, "dev", 4))
    front = front_for(model, ENCODINGS[UINT16])
    from_codes = answers_for(front, load_dataset(encoded_toys, "dev", 4))

    assert list(from_codes) == list(from_raw)
    for key, answer in from_raw.items():
        np.testing.assert_allclose(from_codes[key], answer, rtol=1e-3, atol=1e-5)


def test_fronts_share_all_weights_in_one_order():
    targets = get_targets(["space_group"])
    model = build_model((3, 24, 32), targets, {})
    front = front_for(model, ENCODINGS[UINT16])

    assert front_for(model, ENCODINGS[FLOAT32]) is model
    assert [id(v) for v in front.trainable_variables] == [id(v) for v in model.trainable_variables]
    shapes = {name: tuple(tensor.shape) for name, tensor in front.input.items()}
    assert shapes == {"cbed_stack": (None, 3, 24, 32), "pattern_max": (None, 3)}
    assert front.input["cbed_stack"].dtype == "uint16"


def test_a_training_on_codes_is_the_training_on_intensities(toy_dataset, encoded_toys, tmp_path):
    """Same samples, same seed: losses differ by what 16 bits leave out."""
    losses = []
    for name, folder in (("raw", toy_dataset), ("encoded", encoded_toys)):
        words = [f"--data_dir={folder}", f"--run_dir={tmp_path / name}", "--targets=space_group"]
        assert main(["train", *words, "--epochs=3", "--batch_size=4", "--seed=1"]) == 0
        with (tmp_path / name / "log.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        losses.append([float(row["val_loss"]) for row in rows])
        assert "space_group_top1" in rows[0]

    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)


def test_the_saved_model_takes_raw_intensities_and_nothing_of_the_training(encoded_run):
    assert load_trained_model(encoded_run).input_shape == (None, 3, 24, 32)
    model = keras.models.load_model(encoded_run / "last.keras")
    assert getattr(model, "optimizer", None) is None


def test_evaluation_on_either_encoding_gives_the_same_scores(
    encoded_run, toy_dataset, encoded_toys, tmp_path
):
    # It leaves temperatures, which predictions of the run would use.
    run = shutil.copytree(encoded_run, tmp_path / "run")
    scores = []
    for folder in (encoded_toys, toy_dataset):
        assert main(["evaluate", f"--run_dir={run}", f"--data_dir={folder}"]) == 0
        scores.append(json.loads((run / "metrics-test.json").read_text())["scores"])
        assert (run / "figures-test" / "mistakes.png").exists()
    energies = [score["energy_keV"]["mae"]["model"] for score in scores]
    assert energies[0] == pytest.approx(energies[1], rel=1e-3)


@pytest.mark.parametrize("method", ["power", "log"])
def test_predictions_from_raw_files_are_those_from_codes(
    encoded_toys, toy_archive, encoded_run, tmp_path, method
):
    run = encoded_run
    if method != "power":
        run = tmp_path / "run"
        words = [f"--data_dir={encoded_toys}", f"--run_dir={run}", f"--scaling={method}"]
        words += [f"--targets={','.join(TARGETS)}", "--floor=1e-3"]
        assert main(["train", *words, "--epochs=1", "--batch_size=4"]) == 0
    source, output = toy_archive / "batch_test_0.h5", tmp_path / "p.csv"
    assert main(["predict", f"--run_dir={run}", f"--input={source}", f"--output={output}"]) == 0
    with output.open(newline="") as stream:
        rows = {f"test/{row['sample_id']}".encode(): row for row in csv.DictReader(stream)}

    front = front_for(load_trained_model(run), ENCODINGS[UINT16])
    answers = answers_for(front, load_dataset(encoded_toys, "test", 4))
    ids = load_index(encoded_toys, "test", ["sample_id"])["sample_id"]
    assert set(ids) == set(rows)
    for position, sample_id in enumerate(ids):
        row = rows[sample_id]
        energy = answers["energy_keV"][position, 0]
        assert float(row["energy_keV"]) == pytest.approx(energy, rel=1e-4)
        distances = [float(row[f"d_hkls_angstrom_{view}"]) for view in (1, 2, 3)]
        np.testing.assert_allclose(distances, answers["d_hkls_angstrom"][position], rtol=1e-4)
        best = answers["space_group"][position, int(row["space_group_1"]) - 1]
        assert float(row["space_group_1_probability"]) == pytest.approx(best, rel=1e-3)


def test_mixed_precision(encoded_toys, tmp_path):
    words = [f"--data_dir={encoded_toys}", f"--run_dir={tmp_path / 'run'}", "--mixed_precision"]
    assert main(["train", *words, "--epochs=1", "--batch_size=8"]) == 0
    stack = np.ones((1, 3, 24, 32), np.float32)
    raw = load_trained_model(tmp_path / "run")
    codes, pattern_max = encode_stack(stack[0])
    encoded = {"cbed_stack": codes[None], "pattern_max": pattern_max[None]}
    from_codes = front_for(raw, ENCODINGS[UINT16]).predict(encoded, verbose=0)["space_group"]
    assert from_codes.dtype == np.float32
    np.testing.assert_allclose(from_codes, raw.predict(stack, verbose=0)["space_group"], rtol=1e-3)
