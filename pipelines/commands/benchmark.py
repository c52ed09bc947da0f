"""cbed benchmark --data_dir=shards

Measures how fast this machine reads a data set: the limit (positioned reads of the same bytes into
one reused buffer), and both readers of `pipelines.load_dataset`, raw and scaled. The stages take
turns; a ratio compares a stage with the limit in the same round.
"""

import dataclasses
import json
from pathlib import Path

from absl import flags

from cbed_tf.command_line import UsageError
from cbed_tf.durable import write_atomically
from cbed_tf.schema import SPLITS

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", None, "The data set.", required=True, flag_values=FLAGS)
flags.DEFINE_enum("split", "train", SPLITS, "The split to read.", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Samples a batch.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer(
    "rounds", 5, "How often each stage is measured.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_float("seconds", 2.0, "How long each time.", lower_bound=0.01, flag_values=FLAGS)
flags.DEFINE_string("output", None, "Write the figures to this .json file.", flag_values=FLAGS)


def main() -> None:
    """Measures, prints a table."""
    output = Path(FLAGS.output) if FLAGS.output else None
    if output and output.suffix != ".json":
        raise UsageError(f"--output={output} should end in .json")
    # Imported here: TensorFlow takes seconds, and --help or a wrong flag should not wait for it.
    from pipelines import benchmark

    speeds = benchmark.measure_speeds(
        FLAGS.data_dir, FLAGS.split, FLAGS.batch_size, FLAGS.rounds, FLAGS.seconds
    )
    print(benchmark.as_table(speeds))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        document = [dataclasses.asdict(speed) for speed in speeds]
        write_atomically(output, (json.dumps(document, indent=1) + "\n").encode())
