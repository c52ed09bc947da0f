"""Writes small HDF5 archives in every form that occurs in the wild, for tests."""

import h5py
import numpy as np

from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack

FLOATS = ("semi_angles_rad", "d_hkls_angstrom", "abc_angstrom", "angles_degree", "y_dirs")


def write_padded_floats(group, name, values):
    """Writes an attribute as the archive's ppc64le writer did: 16-byte type over packed doubles."""
    values = np.asarray(values, "<f8")
    file_type = h5py.h5t.IEEE_F64LE.copy()
    file_type.set_size(16)
    space = h5py.h5s.create_simple(values.shape)
    attribute = h5py.h5a.create(group.id, name.encode(), file_type, space)
    junk = np.random.default_rng(7).integers(0, 255, 8 * values.size, np.uint8).tobytes()
    buffer = np.frombuffer(values.tobytes() + junk, "V16").reshape(values.shape)
    attribute.write(buffer, mtype=file_type)


def write_sample(parent, name, attributes, stack, *, padded=False, text_as_bytes=True, **storage):
    """Writes a sample group as the archive has it; returns it for a test to spoil."""
    group = parent.create_group(name)
    group.create_dataset("cbed_stack", data=stack, **storage)
    for key, value in attributes.items():
        if key in ("z_dirs", "y_dirs"):
            value = np.asarray(value).T[None]  # direction k is column k
        if key in FLOATS and padded:
            write_padded_floats(group, key, value)
        elif key in ("space_group", "material"):
            text = str(value)
            group.attrs[key] = np.bytes_(text) if text_as_bytes else text
        elif key == "energy_keV":
            group.attrs[key] = int(value)
        else:
            group.attrs[key] = value
    return group


def write_file(path, numbers, *, views=3, height=24, width=32, parent="", **storage):
    """Writes a file of synthetic samples; the group of number n is sample_{material}_{energy}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.require_group(parent) if parent else file
        for number in numbers:
            write_sample(
                group,
                f"sample_{number // 2}_{number % 2}",
                synthetic_attributes(number, views),
                synthetic_stack(number, views, height, width),
                **storage,
            )
    return path


def write_archive(folder, *, train=8, dev=4, test=4, **storage):
    """Writes one file a split; materials are disjoint over the splits."""
    first = 0
    for split, count in (("train", train), ("dev", dev), ("test", test)):
        if count:
            write_file(folder / f"batch_{split}_0.h5", range(first, first + count), **storage)
        first += count
    return folder
