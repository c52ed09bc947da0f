"""Pictures of what a model will be given: batches as they are read, and as they are augmented.

With the seed and batch size of a training, these are its first batches (unless that one has chosen
another order with --balance, --shuffle_block or --reader).
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from cbed_tf import figures
from cbed_tf.dataset.manifest import load_index, load_manifest
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from cbed_tf.figures import Panels
from cbed_tf.processes.progress import Progress
from pipelines.augmentation.augment import Augment, Augmentation
from pipelines.reading.loading import SAMPLE_ID, load_dataset
from pipelines.scaling import NONE, IntensityScaling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = ("as stored", "as the model sees it in training")
_CAPTIONS = ("formula", "energy_keV", "z_dirs")
_COLUMNS = 5


def preview(
    data_dir: str | os.PathLike,
    split: str,
    augmentation: Augmentation,
    *,
    batch_size: int = 6,
    batches: int = 1,
    seed: int = 0,
    apart: bool = False,
    output: str | os.PathLike | None = None,
    tensorboard_dir: str | os.PathLike | None = None,
) -> list[Path]:
    """Draws the first batches of a split.

    Args:
      data_dir: A data set of `cbed convert`.
      split: Of it; 'train' is shuffled as for a training, others come in their order.
      augmentation: What is done to the samples; without any, they are drawn once.
      batch_size: Samples a batch.
      batches: Pictures at most.
      seed: Of order and augmentation, as in a training.
      apart: Draw, instead, each augmentation by itself on the first view of a batch's first sample.
      output: Picture to write; of several, each with its number before the suffix.
      tensorboard_dir: Where to write them as TensorBoard events, a batch a step.

    Returns:
      The pictures written.

    Raises:
      CbedError: There is no such data set or split, or no augmentation to draw apart.
    """
    if apart and not augmentation:
        raise CbedError("there is no augmentation to draw apart")
    batches = min(batches, -(-load_manifest(data_dir).split(split).samples // batch_size))
    writer = tf.summary.create_file_writer(str(tensorboard_dir)) if tensorboard_dir else None
    written = []
    drawn = _draw_batches(data_dir, split, augmentation, batch_size, batches, seed, apart)
    with Progress("drawing", batches, "batches") as progress:
        for number, figure in enumerate(drawn, 1):
            png = figures.as_png(figure)
            if output:
                written.append(_numbered(Path(output), number, batches))
                write_atomically(written[-1], png)
            if writer:
                with writer.as_default(step=number):
                    tf.summary.image(f"preview/{split}", tf.io.decode_png(png)[None])
            progress.advance(1)
    if writer:
        writer.close()
    return written


def _draw_batches(
    data_dir: str | os.PathLike,
    split: str,
    augmentation: Augmentation,
    batch_size: int,
    batches: int,
    seed: int,
    apart: bool,
) -> Iterator["Figure"]:
    dataset = load_dataset(
        data_dir, split, batch_size, shuffle=split == "train", seed=seed, sample_ids=True
    )
    captions = _Captions(data_dir, split)
    augment = Augment(augmentation, seed)
    read = IntensityScaling(NONE, dtype="float32")
    for images, labels in dataset.take(batches):
        ids = labels.pop(SAMPLE_ID).numpy()
        told = {**labels, "z_dirs": tf.constant(captions.column("z_dirs", ids))}
        before = captions.panels(ids, read(images), told)
        if apart:
            yield figures.grid_figure(_each_alone(images, told, augmentation, seed), _COLUMNS)
        elif augmentation:
            after = captions.panels(ids, *augment((images, told), training=True), before)
            yield figures.pairs_figure(before, after, _TITLES)
        else:
            yield figures.gallery_figure(before)


class _Captions:
    """Says what the samples of a split are.

    Args:
      data_dir: A data set.
      split: Of it.
    """

    def __init__(self, data_dir: str | os.PathLike, split: str):
        self._columns = load_index(data_dir, split, (SAMPLE_ID, *_CAPTIONS))
        self._row = {sample_id: row for row, sample_id in enumerate(self._columns[SAMPLE_ID])}

    def column(self, name: str, ids: Sequence[bytes]) -> np.ndarray:
        """Returns a field of some samples."""
        return self._columns[name][[self._row[sample_id] for sample_id in ids]]

    def panels(
        self,
        ids: Sequence[bytes],
        intensities: tf.Tensor,
        told: dict[str, tf.Tensor],
        before: Sequence[Panels] = (),
    ) -> list[Panels]:
        """Returns a batch as what can be drawn.

        Args:
          ids: Of its samples.
          intensities: Raw, (batch, views, height, width).
          told: Its `space_group` labels and `z_dirs`, changed with the images.
          before: The same batch unchanged, to say what became of its labels.
        """
        labels = told["space_group"].numpy()
        if labels.ndim == 1:
            labels = np.eye(230, dtype=np.float32)[labels]
        formulas = [formula.decode() for formula in self.column("formula", ids)]
        energies = self.column("energy_keV", ids)
        return [
            Panels(
                intensities[k].numpy(),
                ids[k].decode(),
                formulas[k],
                before[k].space_group if before else int(labels[k].argmax()) + 1,
                float(energies[k]),
                told["z_dirs"][k].numpy(),
                _label_notes(labels[k], before[k].space_group) if before else (),
            )
            for k in range(len(ids))
        ]


def _label_notes(label: np.ndarray, space_group: int) -> tuple[str, ...]:
    """Says which space groups a sample is labelled with, where that has changed."""
    shares = {k + 1: label[k] for k in np.argsort(-label, kind="stable") if label[k] > 0.005}
    if list(shares) == [space_group]:
        return ()
    if len(shares) == 1:
        return (f"mirrored, labelled No. {next(iter(shares))}",)
    return ("labelled", *(f"{share:.0%} No. {n}" for n, share in shares.items()))


def _each_alone(
    images: tf.Tensor, told: dict[str, tf.Tensor], augmentation: Augmentation, seed: int
) -> list[tuple[str, np.ndarray]]:
    """Returns the first view of a batch, titled, and what each augmentation makes of it."""
    alone = IntensityScaling(NONE, dtype="float32")(images)
    patterns = [("as stored", alone[0, 0].numpy())]
    for name, strength in augmentation.strengths().items():
        # A mirror half of the time is none half of the time: a picture of it shows one.
        shown = 1.0 if name == "mirror" else strength
        augment = Augment(Augmentation(**{name: shown}), seed)
        changed, _ = augment((images, told), training=True)
        patterns.append((f"{name}:{strength:g}", changed[0, 0].numpy()))
    return patterns


def _numbered(path: Path, number: int, count: int) -> Path:
    return path if count == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
