"""cbed convert --input_dir=archive --output_dir=shards

Converts an archive of HDF5 files into shuffled TFRecord shards with an index and a manifest
(dataset.json). Samples that cannot be trusted go to rejected.jsonl, one line each with the reason,
and not into a shard. Run the same command again after an interruption: it goes on where it stopped.

Exit code: 0; 3 if more samples were rejected than --max_rejected allows (the data set is complete
all the same); 1 if the conversion could not be carried out; 2 for wrong flags.
"""

import contextlib
import sys

from absl import flags

from cbed_tf import command_line
from cbed_tf.commands.flags import define_input_dir, define_swmr, define_workers
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.conversion.splits import DEFAULT_FRACTIONS, RESPLITS
from cbed_tf.dataset.encoding import ENCODINGS, FLOAT32
from cbed_tf.dataset.manifest import REJECTED_NAME, Manifest
from cbed_tf.errors import CbedError
from cbed_tf.processes import dask_engine, engine

AFTER_INTERRUPTION = "the same command goes on where this one stopped"
FLAGS = flags.FlagValues()
define_input_dir(FLAGS)
flags.DEFINE_string(
    "output_dir", None, "Where the data set goes.", required=True, flag_values=FLAGS
)
define_workers(FLAGS)
flags.DEFINE_integer(
    "shard_size_mb", 256, "Upper size of a shard in MiB.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "seed",
    0,
    "Random seed of the order of samples within a split, and of --resplit.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "image_size",
    None,
    "Width and height of the stored patterns, reduced by summing square blocks of pixels.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "encoding",
    FLOAT32,
    list(ENCODINGS),
    "How patterns are stored: as they are, or in half the bytes, as the fourth root in 65535 steps "
    "up to each pattern's largest intensity.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "resplit",
    None,
    RESPLITS,
    "Split anew, not as the files say; samples of one material stay together, or (stricter) of one "
    "formula.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "split_fractions",
    [str(fraction) for fraction in DEFAULT_FRACTIONS],
    "With --resplit: fractions of the samples for train, dev and test.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_rejected",
    0,
    "How many rejected samples (a file that does not open counts as one) still give exit code 0.",
    lower_bound=0,
    flag_values=FLAGS,
)
define_swmr(FLAGS)
flags.DEFINE_enum(
    "engine",
    "processes",
    ["processes", "dask"],
    "Where the work is done: in processes of this machine, or on a Dask cluster.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "scheduler",
    None,
    "With --engine=dask: the cluster's scheduler, as tcp://host:port or as the .json file that it "
    "writes; without it, a cluster of --workers processes is started on this machine.",
    flag_values=FLAGS,
)


def main() -> int:
    """Converts, says what came of it."""
    options = _options()
    with _engine() as run_tasks:
        manifest = convert_archive(
            FLAGS.input_dir, FLAGS.output_dir, options, FLAGS.workers, FLAGS.swmr, run_tasks
        )
    print(summary(FLAGS.output_dir, manifest))
    if manifest.rejected:
        print(
            f"{manifest.rejected} rejected (allowed: {FLAGS.max_rejected}); the reasons are in "
            f"{FLAGS.output_dir}/{REJECTED_NAME}",
            file=sys.stderr,
        )
    return command_line.REJECTED if manifest.rejected > FLAGS.max_rejected else command_line.OK


def _options() -> ConvertOptions:
    try:
        return ConvertOptions(
            shard_size_mb=FLAGS.shard_size_mb,
            seed=FLAGS.seed,
            image_size=FLAGS.image_size,
            encoding=FLAGS.encoding,
            resplit=FLAGS.resplit,
            split_fractions=tuple(float(fraction) for fraction in FLAGS.split_fractions),
        )
    except (CbedError, ValueError) as error:
        raise command_line.UsageError(str(error)) from error


def _engine() -> contextlib.AbstractContextManager[engine.RunTasks]:
    scheduler = FLAGS.scheduler
    if FLAGS.engine != "dask":
        if scheduler is not None:
            raise command_line.UsageError("--scheduler goes with --engine=dask only")
        return contextlib.nullcontext(engine.run_tasks)
    if scheduler is not None:
        if "://" not in scheduler and not scheduler.endswith(".json"):
            raise command_line.UsageError(
                f"--scheduler={scheduler} should be tcp://host:port or a scheduler's .json file"
            )
        if FLAGS.workers is not None:
            raise command_line.UsageError(
                "--workers does not go with --scheduler: that cluster has its workers already"
            )
    return dask_engine.connect(scheduler, FLAGS.workers)


def summary(output_dir: str, manifest: Manifest) -> str:
    """Returns what the data set holds, a line a split."""
    views, height, width = manifest.image_shape
    lines = [
        f"{output_dir}: {views} patterns of {height} x {width} {manifest.encoding.name} "
        "pixels a sample"
    ]
    for name, split in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in split.shards) / 2**20
        lines.append(
            f"  {name:5} {split.samples:7d} samples  {split.materials:6d} materials  "
            f"{len(split.space_groups):4d} space groups  {len(split.shards):5d} shards  "
            f"{megabytes:10.1f} MiB"
        )
    overlaps = manifest.overlaps
    lines.append(
        f"  in more than one split: {overlaps['material']} materials, "
        f"{overlaps['composition']} compositions"
        + (". WARNING: scores on such splits mean little" if overlaps["material"] else "")
    )
    return "\n".join(lines)
