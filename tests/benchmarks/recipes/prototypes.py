"""Makes an archive whose test split shows prototypes (structure types) that its other splits lack.

    python tests/benchmarks/recipes/prototypes.py ARCHIVE OUTPUT

A dev split that shares its prototypes with the training split flatters: its structures can be
known again, their symmetry need not be read. So of each space group one prototype of the training
split is held out and becomes the test split: of those with at least five materials (--least) the
one with fewest, ties by name. A space group with a single prototype keeps it. What dev has of a
prototype that is held out is left out, and so is the test split of ARCHIVE.

ARCHIVE has an index.json beside its files, {"materials": [{"material": "syn-10001", "prototype":
"AB_cF8_225_a_b", "space_group": 225, "split": "train", "file": "batch_train_0.h5", "groups":
["sample_0_1"]}, ...]}, and OUTPUT gets one too. Samples are copied as they are stored, attributes
byte by byte. Prints what was held out as a Markdown table.
"""

import argparse
import contextlib
import dataclasses
import json
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

import h5py

# The repository first: tests/ has folders of the same names as it.
sys.path[:0] = [str(Path(__file__).parents[k]) for k in (3, 2)]

from benchmarks.peers.results import as_markdown  # noqa: E402

from cbed_tf.durable import write_atomically  # noqa: E402
from cbed_tf.errors import CbedError  # noqa: E402
from cbed_tf.processes.progress import Progress  # noqa: E402

INDEX_NAME = "index.json"
TEST_FILE = "batch_test_0.h5"
LEAST = 5


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path, help="folder of batch_*.h5 with index.json")
    parser.add_argument("output", type=Path, help="new folder")
    parser.add_argument("--least", type=int, default=LEAST, help="materials of what is held out")
    options = parser.parse_args(argv)
    if options.least < 1:
        parser.error(f"--least is {options.least}, should be at least 1")
    try:
        print(hold_out(options.archive, options.output, options.least))
    except CbedError as error:
        sys.exit(str(error))


@dataclasses.dataclass(frozen=True)
class Material:
    """A material's samples in one file; an entry of the index."""

    material: str
    prototype: str
    space_group: int
    split: str
    file: str
    groups: tuple[str, ...]


def hold_out(archive, output, least=LEAST):
    """Writes the archive; returns the table.

    Raises:
      CbedError: The index is missing or contradicts the files, nothing can be held out, or there is
        an OUTPUT already.
    """
    if output.exists():
        raise CbedError(f"{output} exists, and nothing is overwritten: choose another folder")
    materials = load_materials(archive)
    held_out = choose_held_out(materials, least)
    if not held_out:
        raise CbedError(
            f"nothing of {archive} can be held out: no space group has several prototypes in the "
            f"training split, one of them with {least} materials"
        )
    moves = resplit(materials, held_out)
    write_archive(archive, output, moves)
    return "\n\n".join([table(materials, held_out), summary([new for _, new in moves])])


def load_materials(archive):
    """Returns the entries of the index, in its order."""
    path = Path(archive) / INDEX_NAME
    names = [field.name for field in dataclasses.fields(Material)]
    try:
        entries = json.loads(path.read_text())["materials"]
        found = [Material(**{name: entry[name] for name in names}) for entry in entries]
    except FileNotFoundError as error:
        raise CbedError(f"prototypes are told by {path}, which does not exist") from error
    except (ValueError, TypeError) as error:
        raise CbedError(f"{path} is no index of materials: {error}") from error
    except KeyError as error:
        raise CbedError(f"{path} lacks {error} of a material") from error
    for entry in found:
        if not PurePosixPath(entry.file).name.startswith(f"batch_{entry.split}_"):
            raise CbedError(
                f"{path}: {entry.material} is of the {entry.split} split, {entry.file} is not"
            )
    return [dataclasses.replace(entry, groups=tuple(entry.groups)) for entry in found]


def choose_held_out(materials, least=LEAST):
    """Returns the prototype to be held out of each space group that can spare one."""
    held_out = {}
    for space_group, counts in sorted(count_prototypes(materials, "train").items()):
        candidates = [(count, name) for name, count in counts.items() if count >= least]
        if candidates and len(counts) > 1:
            held_out[space_group] = min(candidates)[1]
    return held_out


def count_prototypes(materials, split):
    """Returns how many materials each prototype has, {space group: {prototype: count}}."""
    distinct = {(m.space_group, m.prototype, m.material) for m in materials if m.split == split}
    counts = defaultdict(Counter)
    for space_group, prototype, _ in distinct:
        counts[space_group][prototype] += 1
    return counts


def resplit(materials, held_out):
    """Returns pairs of an entry as it is and as it will be; what is left out has none."""
    moves, tested = [], 0
    for entry in materials:
        if entry.split == "test":
            continue
        if held_out.get(entry.space_group) != entry.prototype:
            moves.append((entry, entry))
        elif entry.split == "train":
            # Group names count materials within a file, so those of several files clash.
            groups = tuple(f"sample_{tested}_{k}" for k in range(len(entry.groups)))
            new = dataclasses.replace(entry, split="test", file=TEST_FILE, groups=groups)
            moves.append((entry, new))
            tested += 1
    return moves


def write_archive(archive, output, moves):
    """Copies the samples into a folder that gets its name when all are there."""
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    copy_samples(archive, temporary, moves)
    entries = [dataclasses.asdict(new) for _, new in moves]
    document = json.dumps({"materials": entries}, indent=0) + "\n"
    write_atomically(temporary / INDEX_NAME, document.encode())
    temporary.rename(output)


def copy_samples(archive, folder, moves):
    by_file = defaultdict(list)
    for old, new in moves:
        by_file[old.file].append((old, new))
    total = sum(len(old.groups) for old, _ in moves)
    with Progress("copying", total, "samples") as progress, contextlib.ExitStack() as stack:
        test_file = stack.enter_context(h5py.File(folder / TEST_FILE, "w"))
        for name, pairs in by_file.items():
            with contextlib.ExitStack() as of_file:
                source = of_file.enter_context(open_file(archive / name))
                target = None
                for old, new in pairs:
                    if new.split == "test":
                        copy_groups(source, test_file, old, new)
                    else:
                        target = target or of_file.enter_context(new_file(folder / name))
                        copy_groups(source, target, old, new)
                    progress.advance(len(old.groups))


def open_file(path):
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise CbedError(f"{path}, which the index names, cannot be read: {error}") from error


def new_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return h5py.File(path, "w")


def copy_groups(source, target, old, new):
    """Copies a material's groups in the form in which HDF5 has them, so that no value changes."""
    for there, here in zip(old.groups, new.groups, strict=True):
        if there not in source:
            raise CbedError(f"{old.file} has no group {there}, which the index names")
        source.copy(there, target, here)


def table(materials, held_out):
    """Returns what is held out, and of how much, as Markdown."""
    train, dev = (count_prototypes(materials, split) for split in ("train", "dev"))
    rows = [["space group", "held out", "materials", "other prototypes", "materials", "of dev"]]
    for space_group, counts in sorted(train.items()):
        name = held_out.get(space_group)
        rest = {other: count for other, count in counts.items() if other != name}
        rows.append(
            [
                str(space_group),
                name or "–",
                str(counts[name]) if name else "0",
                str(len(rest)),
                str(sum(rest.values())),
                str(dev[space_group][name]) if name else "0",
            ]
        )
    return as_markdown(rows)


def summary(materials):
    samples, distinct = Counter(), defaultdict(set)
    for entry in materials:
        samples[entry.split] += len(entry.groups)
        distinct[entry.split].add(entry.material)
    return "; ".join(
        f"{split}: {samples[split]:,} samples of {len(distinct[split]):,} materials"
        for split in ("train", "dev", "test")
    )


if __name__ == "__main__":
    main()
