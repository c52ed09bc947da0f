"""Reads an archive's training samples in every usual way, beside our readers, and compares speeds.

    python tests/benchmarks/peers ARCHIVE SCRATCH_FOLDER [--rounds=5] [--seconds=3]

First makes what is missing of each way's own files in SCRATCH_FOLDER (as much room as the archive's
training files for each of five formats; kept for the next run), then compares a batch of each way,
raw and scaled, with the archive. Then all take turns, in another order each round: shuffled batches
of 32 samples, from the page cache, each measurement in a process of its own, the first three
batches not counted. Writes results.json, results.md and results.png to SCRATCH_FOLDER and prints
the tables.

Every way is set up as its documentation advises, with a worker for each core, and in the end is
given two square roots for the fourth root, the fastest that it has. A package that is not installed
is named and left out; `make benchmark` has an environment with all of them.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from benchmarks.peers import results  # noqa: E402
from benchmarks.peers.chart import draw_speeds  # noqa: E402
from benchmarks.peers.processes import StepError, run_step  # noqa: E402
from benchmarks.peers.samples import archive_files, list_samples  # noqa: E402
from benchmarks.peers.ways import ARCHIVE, LIMIT, MODES, SCALED, SHARDS, WAYS  # noqa: E402

PACKAGES = (
    *("tensorflow", "keras", "h5py", "numpy", "torch"),
    *("grain", "array-record", "tensorflow-datasets", "webdataset"),
)


def main():
    options = parse_options()
    # Like Ctrl-C, these end what is being measured as well: it runs in a process group of its own.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if options.redraw:
        found = json.loads((options.scratch / "results.json").read_text())
    else:
        found = Run(options).results()
    print(report(found, options.scratch))
    if found["failed"]:
        sys.exit(1)


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path, help="folder of batch_train_*.h5")
    parser.add_argument("scratch", type=Path, help="folder for files and results")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a measurement, at least")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--only", type=comma_separated, default=list(WAYS), help=", ".join(WAYS))
    parser.add_argument("--modes", type=comma_separated, default=list(MODES), help=", ".join(MODES))
    parser.add_argument("--cores", type=int, help="use so many; without it, all there are")
    parser.add_argument("--data_dir", type=Path, help="the archive's shards, if there are any")
    parser.add_argument(
        "--limit_seconds", type=float, default=180.0, help="of a measurement, at most"
    )
    parser.add_argument("--redraw", action="store_true", help="only report the last run again")
    options = parser.parse_args()
    for name in options.only:
        if name not in WAYS:
            parser.error(f"--only has {name}, should be of {', '.join(WAYS)}")
    for mode in options.modes:
        if mode not in MODES:
            parser.error(f"--modes has {mode}, should be of {', '.join(MODES)}")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, should be at least 1")
    return options


def comma_separated(text):
    return text.split(",")


class Run:
    """One run of the benchmark: what is measured, and what has been found so far."""

    def __init__(self, options):
        self.options = options
        self.samples = list_samples(options.archive)
        if len(self.samples) < options.batch_size:
            sys.exit(f"--batch_size is {options.batch_size}, of {len(self.samples)} samples")
        if options.cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
        self.workers = len(os.sched_getaffinity(0))
        self.ways = [WAYS[name] for name in options.only]
        self.failed, self.missing, self.builds = {}, {}, {}
        self.speeds = {mode: {} for mode in options.modes}

    def results(self):
        """Builds, checks and measures; returns all that was found, for results.json."""
        self.leave_out_missing()
        self.build()
        self.each("check", lambda way, mode: f"{self.check(way, mode)} images as in the archive")
        for number in range(1, self.options.rounds + 1):
            name = f"round {number} of {self.options.rounds}"
            self.each(name, lambda way, mode: f"{self.measure(way, mode):,.0f} samples/s", number)
            found = self.found(number)
            (self.options.scratch / "results.json").write_text(json.dumps(found, indent=1))
        return found

    def found(self, rounds):
        return {
            "machine": machine(self.workers),
            "samples": len(self.samples),
            "image_shape": self.samples.image_shape,
            "batch_size": self.options.batch_size,
            "seconds": self.options.seconds,
            "rounds": rounds,
            "builds": self.builds,
            "missing": self.missing,
            "failed": self.failed,
            "speeds": self.speeds,
        }

    def leave_out_missing(self):
        for way in self.ways:
            if missing := way.missing():
                self.missing[way.name] = missing
                say(f"{way.title}: left out, not installed here: {', '.join(missing)}")
        self.ways = [way for way in self.ways if way.name not in self.missing]

    def build(self):
        builders = {way.files: way for way in self.ways}
        if builders.get(SHARDS):
            builders[SHARDS] = WAYS["gather"]
        for files, way in builders.items():
            if files != ARCHIVE and not (files == SHARDS and self.options.data_dir):
                try:
                    self.builds[files] = self.build_files(way)
                except StepError as error:
                    for other in [other for other in self.ways if other.files == files]:
                        self.give_up(other, f"cannot be built: {error}")

    def build_files(self, way):
        """Makes a way's files unless they are there already, of this very archive."""
        folder = self.folder(way)
        mark, source = folder.with_suffix(".json"), self.source()
        built = json.loads(mark.read_text()) if mark.exists() else {}
        if built.get("source") != source:
            mark.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            built = {"source": source, **self.step("build", way, 3600.0)}
            mark.write_text(json.dumps(built))
        speed = len(self.samples) / built["seconds"]
        say(f"files of {way.files}: {built['bytes'] / 1e6:,.0f} MB, built at {speed:.0f} samples/s")
        return {"samples_per_second": speed, "bytes": built["bytes"]}

    def source(self):
        """Tells one archive, as it is, from another."""
        stats = [(path.name, path.stat()) for path in archive_files(self.options.archive)]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]

    def each(self, title, action, start=0):
        """Does something with all ways in turn, beginning with another one each time."""
        start %= max(1, len(self.ways))
        turns = [
            (way, mode)
            for way in self.ways[start:] + self.ways[:start]
            for mode in self.options.modes
            if mode in way.modes
        ]
        for number, (way, mode) in enumerate(turns, 1):
            if way.name not in self.failed:
                try:
                    done = action(way, mode)
                    say(f"{title}, {number} of {len(turns)}: {way.title}, {mode}: {done}")
                except StepError as error:
                    self.give_up(way, str(error))

    def check(self, way, mode):
        """Compares a batch with the archive; returns how many images that are."""
        if way.kind == LIMIT:
            return "no"  # it keeps none
        return self.step("check", way, self.options.limit_seconds, **self.reading(mode))["images"]

    def measure(self, way, mode):
        task = {**self.reading(mode), "seconds": self.options.seconds}
        speed = self.step("measure", way, self.options.limit_seconds, **task)["samples_per_second"]
        self.speeds[mode].setdefault(way.name, []).append(speed)
        return speed

    def reading(self, mode):
        return {
            "batch_size": self.options.batch_size,
            "scaled": mode == SCALED,
            "workers": self.workers,
        }

    def step(self, action, way, limit_seconds, **task):
        archive, folder = str(self.options.archive.absolute()), str(self.folder(way).absolute())
        task = {"way": way.name, "archive": archive, "folder": folder, **task}
        return run_step(action, task, limit_seconds)

    def folder(self, way):
        if way.files == SHARDS and self.options.data_dir:
            return self.options.data_dir
        return self.options.scratch / way.files

    def give_up(self, way, reason):
        """Leaves a way out of all that follows; a median of fewer rounds is no comparison."""
        self.failed[way.name] = reason
        for found in self.speeds.values():
            found.pop(way.name, None)
        say(f"{way.title}: FAILED, left out from here on: {reason}")


def machine(workers):
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"cores": workers, "python": platform.python_version(), "versions": versions}


def report(found, scratch):
    """Writes results.md and results.png; returns the former."""
    speeds = found["speeds"]
    shape = " x ".join(map(str, found["image_shape"]))
    caption = (
        f"{found['samples']} samples of {shape} float32, batches of {found['batch_size']}, "
        f"{found['machine']['cores']} cores, page cache; medians of {found['rounds']} rounds"
    )
    lines = [caption, ""]
    for mode in speeds:
        if speeds[mode]:
            lines += [results.table(speeds, mode), ""]
    lines += [*results.comparisons(speeds), ""]
    for files, built in found["builds"].items():
        lines.append(
            f"{files}: {built['bytes'] / 1e6:,.0f} MB, "
            f"built at {built['samples_per_second']:.0f} samples/s"
        )
    for name, packages in found["missing"].items():
        lines.append(f"{WAYS[name].title}: not measured, not installed: {', '.join(packages)}")
    for name, reason in found["failed"].items():
        lines.append(f"{WAYS[name].title}: FAILED: {reason}")
    versions = found["machine"]["versions"]
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    text = "\n".join(lines)
    (scratch / "results.md").write_text(text + "\n")
    if any(speeds.values()):
        draw_speeds(speeds, caption, scratch / "results.png")
    return text


def say(line):
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
