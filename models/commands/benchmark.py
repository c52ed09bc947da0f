"""cbed benchmark --data_dir=shards --figure=speeds.png

Measures how fast this machine feeds a model and trains it, stage by stage, in samples/s and MB/s:
the limit (positioned reads of the same bytes into one reused buffer), both readers of
`pipelines.load_dataset`, raw and scaled, the copy to the device, the model's first layer, a
training step, and reader and step together. Says which one is the bottleneck and what to change.

The stages take turns; a ratio compares a stage with the limit in the same round.
"""

import json
from pathlib import Path

from absl import flags

from cbed_tf.command_line import UsageError
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.schema import SPLITS
from models.learning.options import READERS

NO_MODEL = "none"
FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", None, "The data set, local.", required=True, flag_values=FLAGS)
flags.DEFINE_enum("split", "train", SPLITS, "The split to read.", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Samples a batch.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string(
    "backbone",
    "small",
    "Network to train: small, polar, resnet50, efficientnetv2, convnext, or none to measure the "
    "reading only.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "mixed_precision", False, "Train in float16 where that is safe.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "reader", "gather", READERS, "What feeds the training; both are measured.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "rounds", 5, "How often each stage is measured.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_float("seconds", 2.0, "How long each time.", lower_bound=0.01, flag_values=FLAGS)
flags.DEFINE_string("output", None, "Write everything to this .json file.", flag_values=FLAGS)
flags.DEFINE_string("figure", None, "Draw the speeds to this .png file.", flag_values=FLAGS)


def main() -> None:
    """Measures, prints a table, writes files."""
    output = _path("output", ".json")
    figure = _path("figure", ".png")
    # Imported here: TensorFlow takes seconds, and --help or a wrong flag should not wait for it.
    from models.learning.training_step import make_train_step
    from pipelines.inspection.benchmark import measure
    from pipelines.inspection.benchmark_chart import draw_speeds
    from pipelines.inspection.benchmark_report import as_document, as_text, judge

    step = None
    if FLAGS.backbone != NO_MODEL:
        step = make_train_step(FLAGS.data_dir, FLAGS.backbone, FLAGS.mixed_precision)
    measured = measure(
        FLAGS.data_dir, FLAGS.split, FLAGS.batch_size, FLAGS.rounds, FLAGS.seconds,
        reader=FLAGS.reader, model=FLAGS.backbone, train_step=step,
    )  # fmt: skip
    verdict = judge(measured)
    print(as_text(measured, verdict))
    if output:
        _write(output, (json.dumps(as_document(measured, verdict), indent=1) + "\n").encode())
    if figure:
        _write(figure, draw_speeds(measured, verdict))


def _path(flag: str, suffix: str) -> Path | None:
    path = Path(FLAGS[flag].value) if FLAGS[flag].value else None
    if path and path.suffix != suffix:
        raise UsageError(f"--{flag}={path} should end in {suffix}")
    return path


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise CbedError(f"{path} cannot be written: {error}") from error
