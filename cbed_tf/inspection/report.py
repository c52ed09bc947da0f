"""Writes what was found in an archive, or of one sample: as text, as a web page, as a picture."""

import os
from pathlib import Path

import numpy as np

from cbed_tf import figures
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.inspection.document import as_html, as_text
from cbed_tf.inspection.sample import Sample, read_sample
from cbed_tf.inspection.sample_report import as_panels, sample_blocks
from cbed_tf.inspection.survey import Survey
from cbed_tf.inspection.survey_report import survey_blocks

KINDS = (".html", ".png")
_EXAMPLES_IN_PICTURE = 8


def survey_text(survey: Survey, input_dir: str | os.PathLike) -> str:
    """Returns the report on an archive for a terminal."""
    return as_text(survey_blocks(survey, _title(input_dir)))


def sample_text(sample: Sample) -> str:
    """Returns the report on a sample for a terminal."""
    return as_text(sample_blocks(sample))


def write_survey(
    path: str | os.PathLike, survey: Survey, input_dir: str | os.PathLike, swmr: bool = False
) -> None:
    """Writes the report on an archive.

    Args:
      path: A file that ends with .html (everything) or .png (the gallery of patterns alone).
      survey: What was found.
      input_dir: The archive, of which the patterns of a few samples are read.
      swmr: Open the files in single-writer multiple-reader mode.

    Raises:
      CbedError: The file cannot be written, or there is no sample to draw for a picture.
    """
    path = Path(path)
    chosen = survey.examples
    if path.suffix == ".png" and len(chosen) > _EXAMPLES_IN_PICTURE:
        places = np.linspace(0, len(chosen) - 1, _EXAMPLES_IN_PICTURE).round().astype(int)
        chosen = tuple(chosen[place] for place in places)
    examples = [
        as_panels(read_sample(input_dir, example.file, example.group, swmr)) for example in chosen
    ]
    if path.suffix == ".html":
        title = _title(input_dir)
        _write(path, as_html(survey_blocks(survey, title, examples), title).encode())
    elif examples:
        _write(path, figures.as_png(figures.gallery_figure(examples)))
    else:
        raise CbedError(f"{path} is not written: no sample is left to draw")


def write_sample(path: str | os.PathLike, sample: Sample) -> None:
    """Writes the report on a sample.

    Args:
      path: A file that ends with .html (everything) or .png (its patterns).
      sample: What to tell of.

    Raises:
      CbedError: The file cannot be written, or there are no patterns to draw for a picture.
    """
    path = Path(path)
    if path.suffix == ".html":
        page = as_html(sample_blocks(sample, with_picture=True), sample.sample_id)
        _write(path, page.encode())
    else:
        _write(path, figures.as_png(figures.pattern_figure(as_panels(sample))))


def _title(input_dir: str | os.PathLike) -> str:
    return f"CBED archive {Path(input_dir)}"


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise CbedError(f"{path} cannot be written: {error}") from error
