"""cbed evaluate --run_dir=runs/first --data_dir=dataset --split=test

Scores a run's model on a split, with 95 % intervals over its materials, beside baselines that know
the training split's labels but no pattern, or beside another run (--compare). Prints a table;
writes report-SPLIT.html, metrics-SPLIT.json and figures-SPLIT/ into the run folder (with
--checkpoint=last: report-SPLIT-last.html and so on), and temperatures that calibrate the model's
probabilities, fitted on the dev split, into calibration.json.
"""

from pathlib import Path

from absl import flags

from cbed_tf.schema import SPLITS
from models.commands.flags import define_batch_size, define_checkpoint, define_run_dir

FLAGS = flags.FlagValues()
define_run_dir(FLAGS)
define_checkpoint(FLAGS)
define_batch_size(FLAGS)
flags.DEFINE_string(
    "data_dir", None, "Data set of cbed convert: folder or URL.", required=True, flag_values=FLAGS
)
flags.DEFINE_enum("split", "test", SPLITS, "Which split to score.", flag_values=FLAGS)
flags.DEFINE_string(
    "compare",
    None,
    "Folder of another run, to be judged on the same samples; the files are then called "
    "report-SPLIT-vs-RUN2.html and so on, RUN2 being the folder's own name: those beside another "
    "run of that name are replaced.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "resamples",
    1000,
    "How often the materials are drawn anew for the intervals; 0 for none.",
    lower_bound=0,
    flag_values=FLAGS,
)


def main() -> None:
    """Evaluates, prints the table."""
    from models.evaluation import evaluate  # TensorFlow; --help should not wait for it
    from models.evaluation.judging import file_suffix
    from models.evaluation.tables import summary

    document = evaluate(
        FLAGS.run_dir,
        FLAGS.data_dir,
        FLAGS.split,
        FLAGS.checkpoint,
        FLAGS.batch_size,
        FLAGS.compare,
        FLAGS.resamples,
    )
    suffix = file_suffix(FLAGS.split, FLAGS.checkpoint, FLAGS.compare)
    print(summary(document))
    print(f"more in {Path(FLAGS.run_dir) / f'report-{suffix}.html'}")
