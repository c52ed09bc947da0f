"""cbed verify --data_dir=shards --input_dir=archive

Re-reads a data set: every shard against its checksums, every record against the index, all counts
against the manifest. With --input_dir also against the archive that it was made from, sample by
sample and pixel by pixel, and the archive for samples that were lost on the way.

Exit code: 0 if everything agrees; 1 if something does not, or nothing could be verified.
"""

import sys

from absl import flags

from cbed_tf import command_line
from cbed_tf.commands.flags import define_input_dir, define_swmr, define_workers
from cbed_tf.conversion.verify import verify_dataset

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", None, "The data set.", required=True, flag_values=FLAGS)
define_input_dir(FLAGS, required=False)
define_workers(FLAGS)
define_swmr(FLAGS)
_MAX_SHOWN = 50


def main() -> int:
    """Verifies, lists what is wrong."""
    found = verify_dataset(FLAGS.data_dir, FLAGS.input_dir, FLAGS.workers, FLAGS.swmr)
    for problem in found.problems[:_MAX_SHOWN]:
        print(problem, file=sys.stderr)
    if len(found.problems) > _MAX_SHOWN:
        print(f"… and {len(found.problems) - _MAX_SHOWN} more", file=sys.stderr)
    against = " and the archive" if FLAGS.input_dir else ""
    print(
        f"{FLAGS.data_dir}: {found.samples} samples in {found.shards} shards read against "
        f"checksums, index{against}: {len(found.problems) or 'no'} problem(s)"
    )
    return command_line.FAILED if found.problems else command_line.OK
