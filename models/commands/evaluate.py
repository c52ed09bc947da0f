"""cbed evaluate --run_dir=runs/first --data_dir=dataset --split=test

Scores a run's model on a split, beside baselines that know the training split's labels but no
pattern. Prints a table; writes metrics-SPLIT.json and figures-SPLIT/ into the run folder
(with --checkpoint=last: metrics-SPLIT-last.json and figures-SPLIT-last/).
"""

from absl import flags

from cbed_tf.schema import SPLITS
from models.flags import define_batch_size, define_checkpoint, define_run_dir

FLAGS = flags.FlagValues()
define_run_dir(FLAGS)
define_checkpoint(FLAGS)
define_batch_size(FLAGS)
flags.DEFINE_string(
    "data_dir", None, "Data set of cbed convert: folder or URL.", required=True, flag_values=FLAGS
)
flags.DEFINE_enum("split", "test", SPLITS, "Which split to score.", flag_values=FLAGS)


def main() -> None:
    """Evaluates, prints the table."""
    from models.evaluation import evaluate  # TensorFlow; --help should not wait for it
    from models.reports import format_table

    document = evaluate(
        FLAGS.run_dir, FLAGS.data_dir, FLAGS.split, FLAGS.checkpoint, FLAGS.batch_size
    )
    print(
        f"{document['split']}: {document['samples']} samples of {document['materials']} materials; "
        f"{document['checkpoint']} model of {document['run_dir']}; baselines know the labels of "
        f"{document['baselines_from']}"
    )
    print(format_table(document["scores"]))
