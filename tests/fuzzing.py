"""Damages HDF5 files at random, and reads what is left of them with h5py alone.

The reading gives every sample's labels as they should arrive in a data set (float32, text as
bytes, row k of view k) and its patterns. h5py may die on a damaged file, or never return: call
`read_file` through `engine.run_tasks`, which ends such a process.
"""

from pathlib import Path

import h5py
import numpy as np

from cbed_tf.schema import ATTRIBUTES

_MOST_BITS = 8
_SHARE_OF_CUTS = 0.15


def damage(content: bytes, seed: int, metadata: np.ndarray) -> bytes:
    """Returns a file cut off at a random byte, or with some random bits turned over.

    Args:
      content: The whole file.
      seed: The same seed does the same damage.
      metadata: Positions of the bytes that are no pixels. Half of the damaged files have bits
        turned over only there: metadata are few bytes, and can go wrong in more ways.
    """
    random = np.random.default_rng(seed)
    if random.random() < _SHARE_OF_CUTS:
        return content[: random.integers(len(content))]
    data = np.frombuffer(content, np.uint8).copy()
    places = metadata if random.random() < 0.5 else np.arange(len(data))
    for place in random.choice(places, random.integers(1, _MOST_BITS + 1)):
        data[place] ^= 1 << random.integers(8)
    return data.tobytes()


def find_metadata(path: Path) -> np.ndarray:
    """Returns the positions of all bytes of a sound file that hold no pixels."""
    is_metadata = np.ones(path.stat().st_size, bool)

    def exclude(name, item):
        if not isinstance(item, h5py.Dataset):
            return
        if item.chunks is None:
            extents = [(item.id.get_offset(), item.nbytes)]
        else:
            chunks = [item.id.get_chunk_info(k) for k in range(item.id.get_num_chunks())]
            extents = [(chunk.byte_offset, chunk.size) for chunk in chunks]
        for start, size in extents:
            is_metadata[start : start + size] = False

    with h5py.File(path) as file:
        file.visititems(exclude)
    return np.flatnonzero(is_metadata)


def read_file(path: Path) -> dict[str, dict | None] | None:
    """Returns labels and patterns of each group; None for what h5py cannot read in full."""
    try:
        with h5py.File(path) as file:
            return {group: _try_to_read(file, group) for group in _find_groups(file)}
    except Exception:  # whatever h5py makes of damage
        return None


def _find_groups(file):
    for name in filter(_is_text, file):
        if name.startswith("sample_"):
            yield name
        elif file.get(name, getclass=True) is h5py.Group:
            children = list(filter(_is_text, file[name]))
            yield from [name] if "cbed_stack" in children else [f"{name}/{c}" for c in children]


def _is_text(name):
    return isinstance(name, str)  # h5py gives bytes that are no UTF-8 as they are


def _try_to_read(file, name):
    try:
        group = file[name]
        sample = {field.name: _read_label(group, field.name) for field in ATTRIBUTES}
        return {**sample, "cbed_stack": group["cbed_stack"][()].astype("<f4").tobytes()}
    except Exception:
        return None


def _read_label(group, name):
    if name in ("material", "formula", "space_group"):
        value = np.asarray(group.attrs[name]).item()
        value = value.encode() if isinstance(value, str) else value
        return int(value) if name == "space_group" else value.rstrip(b"\0 ")
    values = _read_numbers(group, name)
    if name in ("z_dirs", "y_dirs"):
        values = np.stack([values[0, :, k] for k in range(values.shape[2])])
    with np.errstate(over="ignore"):
        return np.float32(values).tobytes()


def _read_numbers(group, name):
    attribute = h5py.h5a.open(group.id, name.encode())
    file_type = attribute.get_type()
    if not (file_type.get_class() == h5py.h5t.FLOAT and file_type.get_size() == 16):
        return np.float64(group.attrs[name])
    raw = np.empty(attribute.shape, "V16")
    attribute.read(raw, mtype=file_type)
    return raw.reshape(-1).view("<f8")[: raw.size].reshape(raw.shape)
