"""cbed predict --run_dir=runs/first --input=patterns.h5 --output=predictions.csv

Asks a run's model about raw, unlabelled patterns and writes a row for every sample: the five most
probable space groups with probabilities, and every other target in its unit. The input is an HDF5
file as in the archive (no attributes needed), a .npy array of raw intensities, (views, height,
width) or (samples, views, height, width), or a folder of such files.

Exit code: 0; 3 if samples were refused (the others are predicted all the same, the reasons are
logged and listed in predictions.rejected.jsonl); 1 if nothing could be done; 2 for wrong flags.
"""

from absl import flags

from cbed_tf import command_line
from models.flags import define_batch_size, define_checkpoint, define_run_dir

FLAGS = flags.FlagValues()
define_run_dir(FLAGS)
define_checkpoint(FLAGS)
define_batch_size(FLAGS)
flags.DEFINE_string(
    "input", None, "HDF5 file, .npy file or folder.", required=True, flag_values=FLAGS
)
flags.DEFINE_string("output", None, "New CSV file.", required=True, flag_values=FLAGS)
flags.DEFINE_string(
    "figure", None, "New PNG file: pictures of the first samples.", flag_values=FLAGS
)
flags.DEFINE_bool(
    "sum_areas",
    False,
    "Reduce larger patterns to the model's size by summing square blocks of pixels; for models "
    "trained on a data set of cbed convert --image_size.",
    flag_values=FLAGS,
)


def main() -> int:
    """Predicts, says how many."""
    from models.prediction import predict  # TensorFlow; --help should not wait for it

    outcome = predict(
        FLAGS.run_dir,
        FLAGS.input,
        FLAGS.output,
        FLAGS.checkpoint,
        FLAGS.batch_size,
        FLAGS.sum_areas,
        FLAGS.figure,
    )
    print(f"{FLAGS.output}: {outcome.predicted} samples predicted")
    if outcome.rejected:
        print(f"{outcome.rejected} refused; the reasons are in {outcome.rejected_path}")
    return command_line.REJECTED if outcome.rejected else command_line.OK
