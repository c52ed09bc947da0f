"""`load_dataset`: both readers give the same elements, each sample once, in a seeded order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from archives import write_archive

import cbed_tf
from cbed_tf.archive import hdf5
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.dataset.manifest import load_index, load_manifest
from cbed_tf.errors import CbedError
from pipelines import TARGETS, load_dataset
from pipelines.reading.gather import BatchBuffers
from pipelines.reading.loading import READERS

ALL_TARGETS = tuple(TARGETS)
BALANCED = {"space_group": "balanced", "crystal_system": [1, 2, 3, 4, 5, 6, 7]}


def energies_and_sums(dataset):
    """Something that tells the samples of an epoch apart, in order."""
    return [
        (float(energy), float(np.float64(image).sum()))
        for images, labels in dataset
        for image, energy in zip(images.numpy(), labels["energy_keV"].numpy()[:, 0], strict=True)
    ]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("batch_size", [5, 12])
@pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])
def test_gather_and_stream_are_equal_element_for_element(request, data, split, batch_size):
    sample_dataset = request.getfixturevalue(data)
    datasets = [
        load_dataset(
            sample_dataset, split, batch_size,
            targets=ALL_TARGETS, class_weights=BALANCED, reader=reader,
        )
        for reader in READERS
    ]  # fmt: skip
    assert datasets[0].element_spec == datasets[1].element_spec
    assert datasets[0].cardinality() == datasets[1].cardinality()

    count = 0
    for gathered, streamed in zip(*datasets, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, gathered[0], streamed[0])
        for part in (1, 2):
            assert list(gathered[part]) == list(ALL_TARGETS)
            for key in ALL_TARGETS:
                np.testing.assert_array_equal(gathered[part][key], streamed[part][key])
        count += len(gathered[1]["space_group"])
    assert count == load_manifest(sample_dataset).splits[split].samples


def test_images_and_labels_are_the_archives(sample_dataset):
    index = load_index(sample_dataset, "dev")
    images, labels = next(iter(load_dataset(sample_dataset, "dev", 12, targets=ALL_TARGETS)))

    with hdf5.ArchiveFile(cbed_tf.sample_archive() / "batch_dev_0.h5") as archive_file:
        for row, sample_id in enumerate(index["sample_id"]):
            group = sample_id.decode().rpartition("/")[2]
            raw = np.zeros((3, 128, 128), np.float32)
            archive_file.read_stack(group, raw)
            attributes = archive_file.attributes(group)
            np.testing.assert_array_equal(images[row], raw)
            assert labels["space_group"][row] == attributes["space_group"] - 1
            assert labels["energy_keV"][row, 0] == attributes["energy_keV"]
            for key in ("abc_angstrom", "angles_degree", "d_hkls_angstrom"):
                np.testing.assert_array_equal(labels[key][row], np.float32(attributes[key]))


@pytest.mark.parametrize("reader", READERS)
def test_an_epoch_visits_each_sample_once_in_an_order_of_the_seed(sample_dataset, reader):
    def epochs(seed, shuffle=True):
        dataset = load_dataset(
            sample_dataset, "train", 7,
            targets=("energy_keV",), shuffle=shuffle, seed=seed, reader=reader,
        )  # fmt: skip
        return [energies_and_sums(dataset) for _ in range(3)]

    unshuffled = epochs(0, shuffle=False)
    first, again, other = epochs(1), epochs(1), epochs(2)

    assert len(set(unshuffled[0])) == 48
    assert unshuffled[0] == unshuffled[1]
    assert first == again
    assert first[0] != first[1] != first[2]
    for epoch in (*first, *other):
        assert sorted(epoch) == sorted(unshuffled[0])
    assert first[0] != other[0] != unshuffled[0] != first[0]


@pytest.mark.parametrize("reader", READERS)
def test_the_last_batch_is_smaller_or_left_out(sample_dataset, reader):
    def sizes(drop_remainder):
        dataset = load_dataset(
            sample_dataset, "train", 20, reader=reader, drop_remainder=drop_remainder
        )
        batches = [len(images) for images, _ in dataset]
        assert len(batches) == dataset.cardinality()
        return batches

    assert sizes(False) == [20, 20, 8]
    assert sizes(True) == [20, 20]


def test_scaled_is_the_fourth_root_of_raw(sample_dataset):
    raw, _ = next(iter(load_dataset(sample_dataset, "dev", 4)))
    scaled, _ = next(iter(load_dataset(sample_dataset, "dev", 4, scaled=True)))

    np.testing.assert_allclose(scaled, np.float64(raw) ** 0.25, rtol=1e-6)


@pytest.mark.parametrize("reader", READERS)
def test_16_bit_patterns_come_as_they_are_stored(encoded_dataset, sample_dataset, reader):
    dataset = load_dataset(encoded_dataset, "dev", 5, reader=reader)
    raw, _ = next(iter(load_dataset(sample_dataset, "dev", 5, reader=reader)))
    images, _ = next(iter(dataset))

    assert dataset.element_spec[0] == {
        "cbed_stack": tf.TensorSpec((None, 3, 128, 128), tf.uint16),
        "pattern_max": tf.TensorSpec((None, 3), tf.float32),
    }
    codes, pattern_max = (images[name].numpy() for name in ("cbed_stack", "pattern_max"))
    np.testing.assert_array_equal(pattern_max, raw.numpy().max(axis=(2, 3)))
    roots = np.float64(raw) ** 0.25 / np.float64(pattern_max)[..., None, None] ** 0.25
    assert abs(codes / 65535 - roots).max() < 8e-6


@pytest.mark.parametrize("reader", READERS)
def test_scaled_images_are_equal_for_both_encodings(encoded_dataset, sample_dataset, reader):
    datasets = [
        load_dataset(folder, "dev", 5, reader=reader, scaled=True)
        for folder in (sample_dataset, encoded_dataset)
    ]
    assert datasets[0].element_spec == datasets[1].element_spec

    for (scaled, _), (from_codes, _) in zip(*datasets, strict=True):
        largest = scaled.numpy().max(axis=(2, 3), keepdims=True)
        assert (abs(from_codes - scaled) / largest).numpy().max() < 8e-6


def test_balanced_weights_make_classes_count_alike(sample_dataset):
    dataset = load_dataset(
        sample_dataset, "train", 48,
        targets=("crystal_system", "energy_keV"), class_weights={"crystal_system": "balanced"},
    )  # fmt: skip
    _, labels, weights = next(iter(dataset))

    totals = {}
    for label, weight in zip(
        labels["crystal_system"].numpy(), weights["crystal_system"].numpy(), strict=True
    ):
        totals[label] = totals.get(label, 0) + weight
    np.testing.assert_allclose(list(totals.values()), 48 / len(totals), rtol=1e-6)
    assert weights["energy_keV"].numpy().tolist() == [1] * 48


def test_anyones_network_can_be_fitted_on_it(sample_dataset):
    model = keras.Sequential(
        [keras.Input((3, 128, 128)), keras.layers.Flatten(), keras.layers.Dense(230)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    dataset = load_dataset(sample_dataset, "train", 16, scaled=True, shuffle=True).map(
        lambda images, labels: (images, labels["space_group"])
    )
    losses = model.fit(dataset, epochs=3, verbose=0).history["loss"]

    assert losses[-1] < losses[0]


@pytest.mark.parametrize("reader", READERS)
def test_patterns_that_are_not_square(tmp_path, reader):
    folder = write_archive(tmp_path / "in", train=4, dev=0, test=0, views=2)
    convert_archive(folder, tmp_path / "out", workers=1)

    images, labels = next(
        iter(load_dataset(tmp_path / "out", "train", 4, targets=ALL_TARGETS, reader=reader))
    )
    assert images.shape == (4, 2, 24, 32)
    assert labels["d_hkls_angstrom"].shape == (4, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "no split 'tset', only train, dev, test"),
        ({"targets": ("mass",)}, r"targets are \['mass'\]"),
        ({"reader": "scatter"}, "reader is 'scatter', should be one of gather, stream"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"shuffle_buffer": 0}, "shuffle_buffer is 0"),
        ({"class_weights": {"energy_keV": "balanced"}}, "class_weights name 'energy_keV'"),
        ({"class_weights": {"space_group": "even"}}, "'even', should be 'balanced'"),
        ({"class_weights": {"space_group": [1, 2]}}, "should be one for each of 230 classes"),
    ],
)
def test_wrong_arguments_are_refused(sample_dataset, options, message):
    arguments = {"split": "train", "batch_size": 4, "targets": ("space_group", "energy_keV")}
    with pytest.raises(CbedError, match=message):
        load_dataset(sample_dataset, **{**arguments, **options})


def test_a_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(CbedError, match="holds no finished data set"):
        load_dataset(tmp_path, "train", 4)


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_shard_is_named_at_once(tmp_path, archive, reader):
    convert_archive(archive, tmp_path / "out", workers=1)
    (tmp_path / "out" / "dev-00000-of-00001.tfrecord").unlink()

    with pytest.raises(CbedError, match="dev-00000-of-00001.tfrecord"):
        load_dataset(tmp_path / "out", "dev", 4, reader=reader)


def test_a_shard_that_was_cut_is_named(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", workers=1)
    path = tmp_path / "out" / "dev-00000-of-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:20_000])

    with pytest.raises(Exception, match=r"dev-00000-of-00001.tfrecord cannot be read: it ends"):
        list(load_dataset(tmp_path / "out", "dev", 4))


# ---- Buffers


def test_buffers_are_reused_once_nobody_needs_them():
    buffers = BatchBuffers((3,))
    first, _ = buffers.take(2)
    second, _ = buffers.take(2)
    view, address = first[0], first.ctypes.data

    assert not np.shares_memory(first, second)
    del first
    third, _ = buffers.take(2)  # `view` still refers to the first
    assert third.ctypes.data != address
    del view
    assert buffers.take(2)[0].ctypes.data == address


@pytest.mark.parametrize(("size", "shape"), [(1, (1,)), (3, (5, 7)), (32, (3, 64, 64))])
def test_buffers_start_at_a_page(size, shape):
    buffer, images = BatchBuffers(shape).take(size)
    buffer[:] = np.arange(buffer.size).reshape(buffer.shape)

    assert buffer.shape == (size, *shape)
    assert buffer.ctypes.data % 4096 == 0
    for image, view in zip(buffer, images, strict=True):
        assert image.tobytes() == view.tobytes()


@pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])
def test_batches_that_are_kept_are_not_overwritten(request, data):
    dataset = load_dataset(request.getfixturevalue(data), "train", 4).repeat(3)
    kept = [images for images, _ in dataset]
    per_epoch = len(kept) // 3

    for number in range(per_epoch):
        for later in (kept[number + per_epoch], kept[number + 2 * per_epoch]):
            tf.nest.map_structure(np.testing.assert_array_equal, kept[number], later)
