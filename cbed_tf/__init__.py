"""A CBED sample and its life on disk: HDF5 archive -> checked samples -> TFRecord shards.

This package knows nothing of TensorFlow: workers that convert must start fast and stay small.
`pipelines` and `models` build on it, never the other way round.
"""

from pathlib import Path

__version__ = "0.1.0"


def sample_archive() -> Path:
    """Returns the folder of the small archive that ships with the package.

    72 simulated samples of three 128x128 patterns (train 48, dev 12, test 12; 12 space groups,
    36 materials at two beam energies each) in the layout of the Oak Ridge archive; its dev split
    carries the 16-byte floats of the downloadable files.
    """
    return Path(__file__).parent / "sample_archive"
