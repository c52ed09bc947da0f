import json

import numpy as np
import pytest

import cbed_tf
from cbed_tf.dataset.manifest import load_index
from cbed_tf.errors import CbedError, SampleError
from models.prediction import training_intensities
from models.prediction.pattern_files import list_files, opened
from models.prediction.training_intensities import TrainingIntensities, check_raw, measure

# Maxima 1 to 100, and at least 12 orders of magnitude.
SEEN = TrainingIntensities(1.0, 100.0, 12.0)


@pytest.mark.parametrize(
    ("smallest", "largest"), [(1e-13, 0.3), (1e-13, 399.0), (0.0, 50.0), (1e-8, 2.0)]
)
def test_what_is_like_the_training_passes(smallest, largest):
    SEEN.check(smallest, largest)


@pytest.mark.parametrize(
    ("smallest", "largest", "reason"),
    [
        (
            1e-13,
            0.2,
            "largest intensity of cbed_stack is 0.2, those of the training samples were 1 to 100",
        ),
        (1e-13, 401.0, "is 401,"),
        (0.0, 65535.0, "is 6.55e+04,"),
        (1e-3, 3.0, "spans 3.5 orders of magnitude, the training samples 12.0 or more"),
    ],
)
def test_what_is_unlike_the_training_is_refused(smallest, largest, reason):
    with pytest.raises(SampleError) as caught:
        SEEN.check(smallest, largest)
    assert reason in str(caught.value)
    assert "--check_raw=false" in str(caught.value)


def test_counts_are_not_judged_by_their_span():
    counted = TrainingIntensities(1e3, 1e4, float("inf"))
    counted.check(0.0, 2e3)
    counted.check(1.0, 2e3)


def test_the_train_split_is_measured(sample_dataset):
    index = load_index(sample_dataset, "train", ["intensity_min", "intensity_max"])
    seen = measure(sample_dataset)
    assert seen.dimmest == index["intensity_max"].min()
    assert seen.brightest == index["intensity_max"].max()
    spans = [np.log10(top) - np.log10(low) for low, top in zip(*index.values(), strict=True)]
    assert seen.fewest_decades == pytest.approx(min(spans), rel=1e-6)


SCALINGS = {
    "raw": lambda x: x,
    "fourth root": lambda x: np.sqrt(np.sqrt(x)),
    "logarithm": np.log,
    "logarithm with a floor": lambda x: np.log(np.maximum(x, np.exp(-17)) * np.exp(17)),
    "8 bits": lambda x: np.floor(255 * np.sqrt(np.sqrt(x / x.max()))),
    "square root": np.sqrt,
    "largest 1": lambda x: x / x.max(),
    "standardised": lambda x: (x - x.mean()) / x.std(),
}


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_test_pattern_passes_raw_and_no_scaled_one(sample_dataset, scaling):
    """On the packaged archive: patterns of materials that the training has not seen."""
    seen = measure(sample_dataset)
    (file,), _ = list_files(cbed_tf.sample_archive() / "batch_test_0.h5")
    refused = 0
    with opened(file) as reader:
        for sample in file.samples:
            try:
                check_raw(SCALINGS[scaling](reader.stack(sample)).astype(np.float32), seen)
            except SampleError:
                refused += 1
    assert refused == (0 if scaling == "raw" else len(file.samples))


def test_many_negative_pixels_and_empty_patterns_need_no_knowledge_of_the_training():
    stack = np.random.default_rng(1).uniform(0.1, 1, (3, 4, 5)).astype(np.float32)
    check_raw(stack, None)
    with pytest.raises(SampleError, match="negative in 100% of its pixels: .*logarithms"):
        check_raw(np.log(stack), None)
    stack[1] = 0
    with pytest.raises(SampleError, match="view 2 of cbed_stack is 0 everywhere"):
        check_raw(stack, None)


def test_missing_views_are_left_out_where_the_model_can_do_so():
    seen = TrainingIntensities(1.0, 1.0, 6.0)
    stack = 10 ** np.random.default_rng(1).uniform(-9, 0, (3, 8, 9)).astype(np.float32)
    stack[1] = 0
    check_raw(stack, seen, missing_views=True)
    with pytest.raises(SampleError, match="orders of magnitude"):
        check_raw(stack**0.25, seen, missing_views=True)
    with pytest.raises(SampleError, match="view 1 of cbed_stack is 0 everywhere"):
        check_raw(0 * stack, seen, missing_views=True)
    stack[1] = 3
    with pytest.raises(SampleError, match="view 2 of cbed_stack is 3 everywhere"):
        check_raw(stack, seen, missing_views=True)


def test_a_run_knows_them(toy_run, toy_dataset, tmp_path):
    assert training_intensities.load(toy_run) == measure(toy_dataset)
    assert training_intensities.load(tmp_path) is None
    training_intensities.save(tmp_path, SEEN)
    assert training_intensities.load(tmp_path) == SEEN
    (tmp_path / "intensities.json").write_text(json.dumps({"dimmest": 1}))
    with pytest.raises(CbedError, match="intensities.json cannot be read"):
        training_intensities.load(tmp_path)
