"""Makes an archive of any number of samples with tiny patterns, in the proportions of Oak Ridge's.

    python tests/benchmarks/made_archive.py FOLDER 187155

1,138 files for 187,155 samples, ten samples (energies) a material, all fields valid.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1])]

from archives import write_sample  # noqa: E402

from cbed_tf.archive.synthetic import synthetic_attributes  # noqa: E402

SAMPLES_PER_FILE = 187_155 / 1_138
SHARES = (("train", 0.791), ("dev", 0.109), ("test", 0.1))
ENERGIES = 10


def make_archive(folder, samples):
    """Writes the files with both of this machine's processors or more."""
    folder.mkdir(parents=True)
    tasks = []
    first = 0
    for split, share in SHARES:
        count = round(samples * share / ENERGIES) * ENERGIES if split != "test" else samples - first
        files = max(1, round(count / SAMPLES_PER_FILE))
        bounds = [first + count * k // files // ENERGIES * ENERGIES for k in range(files)]
        bounds.append(first + count)
        tasks += [
            (folder / f"batch_{split}_{k}.h5", bounds[k], bounds[k + 1]) for k in range(files)
        ]
        first += count
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_file, *zip(*tasks, strict=True)))
    return len(tasks)


def make_file(path, first, stop):
    """Writes samples [first, stop); sample n shows material n // 10."""
    stack = np.ones((3, 4, 4), np.float32)
    with h5py.File(path, "w") as file:
        for number in range(first, stop):
            material, energy = divmod(number, ENERGIES)
            attributes = synthetic_attributes(2 * material)
            attributes["energy_keV"] = 100.0 + 10 * energy
            name = f"sample_{material - first // ENERGIES}_{energy}"
            write_sample(file, name, attributes, stack, padded=True)


if __name__ == "__main__":
    print(make_archive(Path(sys.argv[1]), int(sys.argv[2])), "files")
