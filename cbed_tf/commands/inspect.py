"""cbed inspect --input_dir=archive --output=report.html

Tells what an archive of HDF5 files holds: samples, materials, space groups and energies of each
split, intensities, what a conversion would reject and why, materials that occur in two splits.
Every pattern is read. --output=FILE.html writes all of it with charts and a gallery of patterns,
as one file; --output=FILE.png the gallery alone.

cbed inspect --input_dir=archive --sample=train/batch_train_0/sample_0_1 --output=sample.png

Tells everything about one sample, and draws its patterns.

Exit code: 0 if everything is sound; 3 if a sample would be rejected; 1 if nothing could be
inspected; 2 for wrong flags.
"""

import sys
from pathlib import Path

from absl import flags

from cbed_tf import command_line
from cbed_tf.commands.flags import define_input_dir, define_swmr, define_workers
from cbed_tf.errors import CbedError
from cbed_tf.inspection import report
from cbed_tf.inspection.sample import find_sample
from cbed_tf.inspection.survey import survey_archive
from cbed_tf.inspection.survey_report import verdicts
from cbed_tf.processes import engine

FLAGS = flags.FlagValues()
define_input_dir(FLAGS)
flags.DEFINE_string(
    "output", None, "A report to write, FILE.html, or a picture, FILE.png.", flag_values=FLAGS
)
flags.DEFINE_string(
    "sample",
    None,
    "Id of one sample to tell everything about, such as train/batch_train_0/sample_0_1; the split "
    "can be left out.",
    flag_values=FLAGS,
)
define_workers(FLAGS)
define_swmr(FLAGS)


def main() -> int:
    """Inspects the archive or one sample of it, prints and writes what was found."""
    output = Path(FLAGS.output) if FLAGS.output is not None else None
    if output is not None:
        prepare_output(output)
    if FLAGS.sample is not None:
        return inspect_sample(FLAGS.input_dir, FLAGS.sample, output, FLAGS.swmr)
    workers = FLAGS.workers or engine.default_workers()
    return inspect_archive(FLAGS.input_dir, output, workers, FLAGS.swmr)


def inspect_archive(input_dir: str, output: Path | None, workers: int, swmr: bool) -> int:
    """Prints and writes the report on an archive; returns the exit code."""
    survey = survey_archive(input_dir, workers, swmr)
    print(report.survey_text(survey, input_dir))
    if output is not None:
        report.write_survey(output, survey, input_dir, swmr)
        print(f"\n{output} is written")
    for text, warning in verdicts(survey):
        if warning:
            print(f"WARNING: {text}", file=sys.stderr)
    return command_line.REJECTED if survey.rejected else command_line.OK


def inspect_sample(input_dir: str, wanted: str, output: Path | None, swmr: bool) -> int:
    """Prints and writes the report on one sample; returns the exit code."""
    sample = find_sample(input_dir, wanted, swmr)
    print(report.sample_text(sample))
    if output is not None:
        report.write_sample(output, sample)
        print(f"\n{output} is written")
    return command_line.REJECTED if sample.reason else command_line.OK


def prepare_output(path: Path) -> None:
    """Makes sure that a report can be written, before hours are spent on what is in it.

    Raises:
      UsageError: The file's name tells no known kind, or is that of a folder.
      CbedError: Its folder cannot be made.
    """
    if path.suffix not in report.KINDS:
        raise command_line.UsageError(
            f"--output={path} should end with {' or '.join(report.KINDS)}"
        )
    if path.is_dir():
        raise command_line.UsageError(f"--output={path} is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CbedError(f"the folder of --output={path} cannot be made: {error}") from error
