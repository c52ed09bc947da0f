"""Converts an archive into a data set: scan, plan, write the missing shards, finish.

Owns the order of these steps and the output folder's state; each step lives in a module of its
own. Interrupted at any point, the same call completes the folder to the same bytes.
"""

import dataclasses
import errno
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cbed_tf.archive.files import find_files
from cbed_tf.archive.scan import Scan, scan_archive
from cbed_tf.conversion import rescue
from cbed_tf.conversion.finish import finish
from cbed_tf.conversion.plan import (
    ConvertOptions,
    Plan,
    ShardPlan,
    find_difference,
    load_plan,
    make_plan,
    save_plan,
)
from cbed_tf.conversion.shard import ShardReport, ShardTask, has_report, load_report
from cbed_tf.dataset.manifest import MANIFEST_NAME, Manifest, load_manifest
from cbed_tf.durable import remove_leftovers
from cbed_tf.errors import CbedError
from cbed_tf.folder_lock import locked
from cbed_tf.processes import engine
from cbed_tf.processes.progress import Progress, format_bytes

_LOG = logging.getLogger(__name__)
_WORK_DIR = ".convert"


def convert_archive(
    input_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    options: ConvertOptions | None = None,
    workers: int | None = None,
    swmr: bool = False,
    run_tasks: engine.RunTasks = engine.run_tasks,
) -> Manifest:
    """Converts an archive of HDF5 files into a data set of TFRecord shards.

    Args:
      input_dir: Folder with batch_{train,dev,test}_{k}.h5 files, or with folders of them.
      output_dir: New or empty, or the output of an interrupted conversion of the same archive with
        the same options, which is then completed.
      options: What the result depends on.
      workers: Number of processes; as many as there are processors by default. The result does
        not depend on it.
      swmr: Open HDF5 files in single-writer multiple-reader mode.
      run_tasks: Where the work is done: in processes of this machine, or on a Dask cluster with
        what `dask_engine.connect` gives. The result does not depend on it either.

    Returns:
      The manifest of the finished data set. Refused samples are counted in its `rejected`, and
      named in `rejected.jsonl`.

    Raises:
      CbedError: Nothing can be converted; the folder belongs to another conversion or is being
        written by one; or it cannot be written. What is in it then can be completed later.
    """
    options = options or ConvertOptions()
    workers = workers or engine.default_workers()
    # In full, as workers on other machines start in other folders.
    source, output = Path(input_dir).absolute(), Path(output_dir).absolute()
    files = find_files(source)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with locked(output, "conversion"):
            finished = _finished(output, options, files)
            if finished is not None:
                _LOG.info("%s is complete already; nothing was done", output)
                return finished
            _refuse_foreign_content(output)
            plan = _resume_or_make_plan(source, output, options, files, workers, swmr, run_tasks)
            reports = _write_missing_shards(source, output, plan, workers, swmr, run_tasks)
            manifest = finish(output, plan, reports)
            shutil.rmtree(output / _WORK_DIR)
            return manifest
    except OSError as error:
        raise CbedError(
            f"{output} cannot be written: {error}{_explain(error, output)}. Once that is mended, "
            "the same command goes on where this one stopped"
        ) from error


def _finished(output: Path, options: ConvertOptions, files: Sequence) -> Manifest | None:
    if not (output / MANIFEST_NAME).exists():
        return None
    manifest = load_manifest(output)
    wanted = dataclasses.asdict(options)
    _refuse_difference(output, manifest.options, wanted, manifest.source_files, tuple(files))
    shutil.rmtree(output / _WORK_DIR, ignore_errors=True)
    return manifest


def _refuse_difference(output: Path, *old_and_new: object) -> None:
    difference = find_difference(*old_and_new)
    if difference:
        raise CbedError(
            f"{output} holds the output of another conversion: {difference}. Choose another "
            "--output_dir, or remove this one"
        )


def _refuse_foreign_content(output: Path) -> None:
    content = sorted(path.name for path in output.iterdir())
    if content and _WORK_DIR not in content:
        raise CbedError(
            f"{output} is not empty ({content[0]}, …) and holds no conversion that could go on"
        )


def _resume_or_make_plan(
    source: Path,
    output: Path,
    options: ConvertOptions,
    files: Sequence,
    workers: int,
    swmr: bool,
    run_tasks: engine.RunTasks,
) -> Plan:
    work_dir = output / _WORK_DIR
    work_dir.mkdir(exist_ok=True)
    for folder in (output, work_dir):
        remove_leftovers(folder)
    plan = load_plan(work_dir)
    if plan is None:
        scan = scan_archive(source, files, workers, swmr, run_tasks)
        _refuse_emptiness(scan)
        plan = make_plan(scan, options)
        save_plan(work_dir, plan)
    else:
        asked, wanted = dataclasses.asdict(plan.options), dataclasses.asdict(options)
        _refuse_difference(output, asked, wanted, plan.scan.files, tuple(files))
        _LOG.info("going on with the conversion that %s holds", output)
    return plan


def _refuse_emptiness(scan: Scan) -> None:
    if not len(scan.columns["sample_id"]):
        first = "".join(f"\n  {entry.sample_id}: {entry.reason}" for entry in scan.rejected[:10])
        raise CbedError(
            f"no sample of the archive can be used, {len(scan.rejected)} refused; the first:{first}"
        )


def _write_missing_shards(
    source: Path, output: Path, plan: Plan, workers: int, swmr: bool, run_tasks: engine.RunTasks
) -> list[ShardReport]:
    sidecar_dir = output / _WORK_DIR
    missing = _find_missing(output, plan)
    missing_samples = sum(shard.stop - shard.start for shard in missing)
    if missing_samples * plan.image_bytes() > shutil.disk_usage(output).free:
        _LOG.warning("%s is too full: %s", output, _describe_space(output, plan))
    tasks = [
        ShardTask(
            input_dir=source,
            output_dir=output,
            sidecar_dir=sidecar_dir,
            name=shard.name,
            first_row=shard.start,
            columns=_rows_of(plan, shard.start, shard.stop),
            image_shape=plan.scan.image_shape,
            stored_shape=plan.stored_shape,
            swmr=swmr,
            encoding=plan.encoding,
        )
        for shard in missing
    ]
    sample_bytes = int(np.prod(plan.scan.image_shape)) * 4
    total = len(plan.scan.columns["source_file"]) * sample_bytes
    done = total - missing_samples * sample_bytes
    with Progress("converting", total, "B", done) as progress:
        rescue.write_shards(
            tasks,
            lambda function, tasks: run_tasks(function, tasks, workers, progress),
        )
    return [load_report(sidecar_dir, shard.name) for shard in plan.shards]


def _rows_of(plan: Plan, start: int, stop: int) -> dict[str, np.ndarray]:
    columns = {name: column[start:stop] for name, column in plan.scan.columns.items()}
    names = [plan.scan.files[position].name for position in columns["source_file"]]
    return {**columns, "source_file": np.array(names, dtype=object)}


def _find_missing(output: Path, plan: Plan) -> list[ShardPlan]:
    # After a power cut one name may have reached the disk without the other.
    return [
        shard
        for shard in plan.shards
        if not ((output / shard.name).exists() and has_report(output / _WORK_DIR, shard.name))
    ]


def _explain(error: OSError, output: Path) -> str:
    """Returns how much room is missing if that is what the error is about."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    return f" ({_describe_space(output, load_plan(output / _WORK_DIR))})"


def _describe_space(output: Path, plan: Plan | None) -> str:
    free = f"{format_bytes(shutil.disk_usage(output).free)} free"
    if plan is None:
        return free
    samples = sum(shard.stop - shard.start for shard in _find_missing(output, plan))
    return f"{format_bytes(samples * plan.image_bytes())} to be written, {free}"
