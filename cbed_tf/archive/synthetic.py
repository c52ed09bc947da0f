"""Makes samples of which every field is valid and that satisfy the checks, from nothing.

For tests and benchmarks that need many samples, odd shapes or a known answer. The patterns are
noise with the range of real ones, not diffraction; by default they are not square, so that a
transpose fails.
"""

from typing import Any

import numpy as np

from cbed_tf import crystal
from cbed_tf.archive.checks import SEMI_ANGLE_TIMES_D
from cbed_tf.schema import IMAGE_DTYPE

ENERGIES_PER_MATERIAL = 2
_ELEMENTS = ("Na", "Fe", "Cu", "Ba", "Ti", "Nb")


def synthetic_attributes(number: int, views: int = 3) -> dict[str, Any]:
    """Returns the attributes of sample `number`, as `hdf5.ArchiveFile.attributes` gives them.

    Samples 2k and 2k + 1 show one material at two energies; cells are monoclinic, so that zone axes
    in the wrong order give other d-spacings.
    """
    material = number // ENERGIES_PER_MATERIAL
    random = np.random.default_rng(material)
    abc = 3.0 + 9.0 * random.random(3)
    angles = np.array([90.0, 91.0 + 20.0 * random.random(), 90.0])
    z_dirs = random.integers(0, 4, (views, 3)) + np.eye(views, 3, dtype=np.int64)
    z_dirs[:, 0] += 1  # never [0 0 0]
    d_hkls = crystal.d_spacings_angstrom(abc, angles, z_dirs)
    element = _ELEMENTS[material % len(_ELEMENTS)]
    return {
        "space_group": 1 + material * 37 % crystal.NUM_SPACE_GROUPS,
        "material": f"syn-{material:05d}",
        "formula": f"{element}{2 + material % 5} O{4 + material % 3}",
        "energy_keV": float(100 + 10 * (number % 10)),
        "z_dirs": z_dirs,
        "y_dirs": random.normal(size=(views, 3)),
        "semi_angles_rad": SEMI_ANGLE_TIMES_D / d_hkls,
        "d_hkls_angstrom": d_hkls,
        "abc_angstrom": abc,
        "angles_degree": angles,
    }


def synthetic_stack(number: int, views: int = 3, height: int = 24, width: int = 32) -> np.ndarray:
    """Returns the patterns of sample `number`: float32 (views, height, width), 1e-19 to 1e5."""
    random = np.random.default_rng((number, 1))
    return (10.0 ** random.uniform(-19, 5, (views, height, width))).astype(IMAGE_DTYPE)
