"""The training samples of an archive as plain h5py reads them: what every peer is given."""

import dataclasses
import functools
import os
from pathlib import Path

import h5py
import numpy as np

SPLIT = "train"
IMAGE = "cbed_stack"
LABEL = "space_group"


@dataclasses.dataclass(frozen=True)
class Samples:
    """Where the samples of the training split lie, and their labels."""

    archive: Path
    places: list[tuple[str, str]]  # file, group
    space_groups: np.ndarray  # int64, 1..230
    image_shape: tuple[int, int, int]

    def __len__(self):
        return len(self.places)

    def read(self, number, scaled=False):
        """Returns patterns and space group of one sample, its file opened once a process."""
        path, group = self.places[number]
        stack = open_file(path, os.getpid())[group][IMAGE][()]
        return (fourth_root(stack) if scaled else stack), self.space_groups[number]

    @property
    def image_bytes(self):
        return 4 * int(np.prod(self.image_shape))

    @property
    def shuffle_buffer(self):
        """As many samples as our own stream keeps: 512 MiB of them."""
        return max(1, min(512 * 2**20 // self.image_bytes, len(self)))


@functools.lru_cache(maxsize=256)
def open_file(path, process):
    return h5py.File(path, "r")


def fourth_root(stack):
    """As two square roots, in one new array: a power costs 2 to 5 times as much."""
    root = np.sqrt(stack)
    return np.sqrt(root, out=root)


def list_samples(archive):
    """Finds the samples of all files batch_train_*.h5, at the top level or one group down."""
    places, space_groups, shapes = [], [], set()
    for path in archive_files(archive):
        with h5py.File(path, "r") as file:
            for name, group in file.items():
                inner = {"": group} if IMAGE in group else dict(group.items())
                for child, sample in inner.items():
                    places.append((str(path), f"{name}/{child}".rstrip("/")))
                    space_groups.append(int(sample.attrs[LABEL]))
                    shapes.add(sample[IMAGE].shape)
    if len(shapes) != 1:
        raise SystemExit(f"{archive} has training samples of {len(shapes)} shapes, should be one")
    return Samples(Path(archive), places, np.array(space_groups, np.int64), shapes.pop())


def archive_files(archive):
    return sorted(Path(archive).rglob(f"batch_{SPLIT}_*.h5"))


def check_batch(samples, images, space_groups, scaled):
    """Raises AssertionError unless a batch holds samples of the archive, each with its label.

    Returns which.
    """
    images, space_groups = np.asarray(images), np.asarray(space_groups)
    assert images.dtype == np.float32, images.dtype
    assert images.shape == (len(space_groups), *samples.image_shape), images.shape
    keys = np.stack([key_of(samples.read(k, scaled=True)[0]) for k in range(len(samples))])
    found = []
    for image, space_group in zip(images, space_groups, strict=True):
        key = key_of(image if scaled else fourth_root(image))
        number = int(np.argmin(abs(keys - key).max(axis=1)))
        expected, label = samples.read(number)
        if scaled:
            np.testing.assert_allclose(image, expected.astype(np.float64) ** 0.25, 1e-5, 1e-5)
        else:
            np.testing.assert_array_equal(image, expected)
        assert space_group == label, (space_group, label)
        found.append(number)
    return found


def key_of(root):
    """Some of the pixels of a scaled sample: enough to tell which sample it is."""
    _, height, width = root.shape
    return root[:, :: max(1, height // 16), :: max(1, width // 16)].ravel()
