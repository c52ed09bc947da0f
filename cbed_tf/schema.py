"""The fields of a sample, in one table from which every reader, writer and document derives.

Owns names, dtypes, shapes, units and meanings. How a field is stored in HDF5 is known to
`hdf5.py` alone, how it is framed in a record to `record.py`.
"""

import dataclasses
import functools

import numpy as np

IMAGE = "cbed_stack"
IMAGE_DTYPE = np.dtype("<f4")
SPLITS = ("train", "dev", "test")
# Stands for the number of patterns of a sample in a field's shape; the Oak Ridge archive has 3.
VIEWS = "views"


@dataclasses.dataclass(frozen=True)
class Field:
    """One labelled quantity of a sample.

    Attributes:
      name: The archive's own attribute name, used everywhere.
      dtype: Of a record and of an index column: 'bytes', 'int64' or 'float32'.
      shape: Of one sample; the string VIEWS stands for its number of patterns.
      unit: Empty for pure numbers and text.
      meaning: One line for people.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str
    meaning: str

    @functools.cache  # noqa: B019 (the fields live as long as the program)
    def shape_for(self, views: int) -> tuple[int, ...]:
        """Returns the shape with the number of patterns filled in."""
        return tuple(views if extent == VIEWS else int(extent) for extent in self.shape)


FIELDS = (
    Field("sample_id", "bytes", (), "", "split/file/group, unique in the archive"),
    Field("space_group", "int64", (), "", "international number, 1 to 230"),
    Field("material", "bytes", (), "", "Materials Project id; the key of leak-free splits"),
    Field("formula", "bytes", (), "", "elements and counts of the simulated cell"),
    Field("energy_keV", "float32", (), "keV", "beam energy"),
    Field("z_dirs", "float32", (VIEWS, 3), "", "zone axes; row k belongs to view k"),
    Field("y_dirs", "float32", (VIEWS, 3), "", "transverse directions; row k belongs to view k"),
    Field("semi_angles_rad", "float32", (VIEWS,), "rad", "convergence semi-angle of each view"),
    Field(
        "d_hkls_angstrom",
        "float32",
        (VIEWS,),
        "angstrom",
        "d-spacing of the Bragg reflection that belongs to each zone axis",
    ),
    Field("abc_angstrom", "float32", (3,), "angstrom", "lattice lengths of the simulated cell"),
    Field("angles_degree", "float32", (3,), "degree", "lattice angles alpha, beta, gamma"),
)

# Stored beside patterns that are encoded relative to it, and nowhere else; see `encoding.py`.
PATTERN_MAX = Field("pattern_max", "float32", (VIEWS,), "", "largest intensity of each pattern")

FIELD = {field.name: field for field in (*FIELDS, PATTERN_MAX)}
# What the archive stores as HDF5 attributes: everything but the id, which is made from the place.
ATTRIBUTES = tuple(field for field in FIELDS if field.name != "sample_id")


def make_sample_id(split: str, file_stem: str, group: str) -> str:
    """Returns the id of a sample; a group's name alone occurs in many files."""
    return f"{split}/{file_stem}/{group}"


def as_column(field: Field, values: list, views: int) -> np.ndarray:
    """Stacks one field of many samples into an index column, (samples, *shape)."""
    if field.dtype == "bytes":
        return np.array([value.encode() for value in values], dtype=np.bytes_)
    return np.array(values, dtype=field.dtype).reshape(len(values), *field.shape_for(views))
