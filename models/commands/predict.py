"""cbed predict --run_dir=runs/first --input=patterns.h5 --output=predictions.csv

Asks a run's model about raw, unlabelled patterns and writes a row for every sample: the five most
probable space groups with probabilities, and every other target in its unit. The input is an HDF5
file as in the archive (no attributes needed), a .npy array of raw intensities, (views, height,
width) or (samples, views, height, width), or a folder of such files.

With --joint, predictions.materials.csv has one answer for each material besides, from all of its
samples: space groups by the mean of their log-probabilities, quantities by mean and spread. Which
material a sample shows is told by its attribute `material`, else by its group's name, sample_I_E,
where I counts the materials of a file.

Exit code: 0; 3 if samples were refused (the others are predicted all the same, the reasons are
logged and listed in predictions.rejected.jsonl); 1 if nothing could be done; 2 for wrong flags.
"""

from absl import flags

from cbed_tf import command_line
from cbed_tf.errors import CbedError
from models.commands.flags import (
    define_batch_size,
    define_calibrated,
    define_checkpoint,
    define_run_dir,
)
from models.prediction.known_inputs import parse_known

FLAGS = flags.FlagValues()
define_run_dir(FLAGS)
define_checkpoint(FLAGS)
define_calibrated(FLAGS)
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
flags.DEFINE_bool(
    "joint", False, "Answer for each material too, from all of its samples.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "known",
    [],
    "For models trained with --inputs: a value that holds for all samples, in place of their "
    "attributes, like energy_keV:200 or d_hkls_angstrom:2.1,1.9,1.3; may be repeated.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "check_raw",
    True,
    "Refuse samples that are much brighter, dimmer or flatter than those of the training, as "
    "patterns are that somebody has scaled.",
    flag_values=FLAGS,
)


def main() -> int:
    """Predicts, says how many."""
    known = _known()
    from models.prediction.predict import predict  # TensorFlow; --help should not wait for it

    outcome = predict(
        FLAGS.run_dir,
        FLAGS.input,
        FLAGS.output,
        FLAGS.checkpoint,
        FLAGS.batch_size,
        FLAGS.sum_areas,
        FLAGS.figure,
        FLAGS.calibrated,
        FLAGS.joint,
        known,
        FLAGS.check_raw,
    )
    print(f"{FLAGS.output}: {outcome.predicted} samples predicted")
    if FLAGS.joint:
        print(f"{outcome.materials_path}: {outcome.materials} materials")
    if outcome.rejected:
        print(f"{outcome.rejected} refused; the reasons are in {outcome.rejected_path}")
    return command_line.REJECTED if outcome.rejected else command_line.OK


def _known() -> dict[str, tuple[float, ...]]:
    try:
        return parse_known(FLAGS.known)
    except CbedError as error:
        raise command_line.UsageError(f"--{error}") from error
