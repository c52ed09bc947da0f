"""What the measured speeds mean: the bottleneck, the time lost on data, what to change.

As a table for people and as a document for programs; the picture is in `benchmark_chart.py`.
"""

import dataclasses
import statistics
from typing import Any

import tensorflow as tf

from cbed_tf import __version__
from cbed_tf.dataset.encoding import FLOAT32
from pipelines.inspection.benchmark import (
    FIRST_LAYER,
    MODEL_STEP,
    TO_DEVICE,
    TRAINING,
    Measurement,
    StageSpeed,
)
from pipelines.reading.loading import GATHER, STREAM

# A reader this near to the limit cannot be improved, only what it reads from.
_AT_LIMIT = 0.6
_WORTH_CHANGING = 1.2
_LITTLE_LOST = 0.05
_SMALLER_SAMPLES = "--image_size of cbed convert makes samples smaller"
_FEWER_BYTES = f"--encoding=uint16 of cbed convert halves the bytes, {_SMALLER_SAMPLES}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What follows from a measurement.

    Attributes:
      bottleneck: The slowest of the stages that run beside each other: reader, copy, model step.
      lost_to_reading: Share of the time of training by which it is slower than its steps alone, 0
        to 1; None where no model was trained.
      first_layer: Share of the time of a step that the first layer takes by itself; likewise.
      advice: What to change, in sentences.
      notes: What the figures mean, in sentences.
    """

    bottleneck: str
    lost_to_reading: float | None
    first_layer: float | None
    advice: tuple[str, ...]
    notes: tuple[str, ...]


def judge(measured: Measurement) -> Verdict:
    """Finds the bottleneck, and what would widen it."""
    beside = [measured.stage(name) for name in (measured.reader, TO_DEVICE, MODEL_STEP)]
    slowest = min((s for s in beside if s), key=lambda stage: stage.samples_per_second[0])
    lost = first_layer = None
    if measured.model:
        lost = max(0.0, 1 - _ratio(measured, TRAINING, MODEL_STEP))
        first_layer = _ratio(measured, MODEL_STEP, FIRST_LAYER)
    advise = {MODEL_STEP: _advice_on_model, TO_DEVICE: _advice_on_copies}
    return Verdict(
        bottleneck=slowest.name,
        lost_to_reading=lost,
        first_layer=first_layer,
        advice=tuple(advise.get(slowest.name, _advice_on_reader)(measured, lost)),
        notes=tuple(_notes(measured)),
    )


def _ratio(measured: Measurement, above: str, below: str) -> float:
    """Returns the median over the rounds of the ratio of two stages within the round."""
    pairs = zip(measured.stage(above).rounds, measured.stage(below).rounds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def _advice_on_model(measured: Measurement, lost: float) -> list[str]:
    times = _ratio(measured, measured.reader, MODEL_STEP)
    advice = [
        f"{measured.reader} delivers {times:.3g} times what the model takes: no disk or reader "
        "makes this training faster. A faster device would, or a smaller network; "
        f"{_SMALLER_SAMPLES}."
    ]
    if lost > _LITTLE_LOST:
        advice.append(
            "Batches are copied between steps; load_dataset(device='/GPU:0') copies "
            "a batch while the step before it runs."
            if measured.is_copied
            else "What reading costs nevertheless is the time of cores that both share."
        )
    return advice


def _advice_on_copies(measured: Measurement, _: float | None) -> list[str]:
    if measured.encoding != FLOAT32:
        return [f"Copying to the device is slowest: {_SMALLER_SAMPLES}."]
    return [f"Copying to the device is slowest: {_FEWER_BYTES}."]


def _advice_on_reader(measured: Measurement, _: float | None) -> list[str]:
    faster = _ratio(measured, GATHER, measured.reader)
    if measured.reader == STREAM and faster > _WORTH_CHANGING:
        return [f"--reader=gather reads {faster:.3g} times as fast as stream here."]
    smaller = _FEWER_BYTES if measured.encoding == FLOAT32 else _SMALLER_SAMPLES
    of_limit = measured.stage(measured.reader).ratio_to_limit
    if of_limit < _AT_LIMIT:
        return [
            f"{measured.reader} reaches {of_limit:.2f} of the read limit, so the processors are "
            f"what it waits for: more cores, or larger batches if samples are small; {smaller}."
        ]
    source = "memory" if measured.from_memory else "the disk"
    advice = [f"{measured.reader} reads about as fast as {source} gives: {smaller}."]
    if not measured.from_memory:
        advice.append("So does a faster disk, or enough memory to keep the split in it.")
    return advice


def _notes(measured: Measurement) -> list[str]:
    size, memory = measured.split_bytes / 2**30, (measured.memory_bytes or 0) / 2**30
    if not measured.from_memory:
        return [
            f"{measured.split} has {size:,.0f} GiB, more than the {memory:,.0f} GiB of memory "
            "that are free for files: every stage read samples that are on the disk, in an order "
            "of its own, so the read limit is what the disk gives to one reader at a time, and "
            "a reader that asks ahead may pass it."
        ]
    return [
        f"{measured.split} ({size:,.2f} GiB) fits into memory and came from there. Reading it "
        f"once before took {measured.first_pass_megabytes_per_second:,.0f} MB/s; a first epoch "
        "from the disk is no faster than the disk."
    ]


def as_text(measured: Measurement, verdict: Verdict) -> str:
    """Returns the measurements as a table, a line a stage, and what they mean."""
    lines = [f"{'stage':16}{'samples/s':>10}{'(min .. max)':>20}{'MB/s':>8}{'of limit':>10}"]
    for stage in measured.stages:
        if stage.name == FIRST_LAYER and not measured.is_copied:
            lines.append(f"{TO_DEVICE:16}{'–':>10}  nothing is copied: the device is the CPU")
        lines.append(_row(stage))
    lines += ["", _headline(measured, verdict), *verdict.advice, *verdict.notes]
    return "\n".join(lines)


def _row(stage: StageSpeed) -> str:
    median, slowest, fastest = map(short, stage.samples_per_second)
    return (
        f"{stage.name:16}{median:>10}{f'({slowest} .. {fastest})':>20}"
        f"{stage.megabytes_per_second:8.0f}{stage.ratio_to_limit:10.2g}"
    )


def short(samples_per_second: float) -> str:
    """Returns a speed for people: '1,934', '3.9'."""
    return f"{samples_per_second:,.{0 if samples_per_second >= 10 else 1}f}"


def _headline(measured: Measurement, verdict: Verdict) -> str:
    batches = f"batches of {measured.batch_size}"
    if not measured.model:
        return f"Slowest in feeding a model with {measured.reader}, {batches}: {verdict.bottleneck}"
    return (
        f"Training {measured.model} with {measured.reader}, {batches}, on {measured.device}. "
        f"Bottleneck: {verdict.bottleneck}.\n"
        f"Lost to reading: {verdict.lost_to_reading:.0%} of the time. "
        f"First layer: {verdict.first_layer:.1%} of a step."
    )


def as_document(measured: Measurement, verdict: Verdict) -> dict[str, Any]:
    """Returns everything that was measured and concluded, for JSON."""
    return {
        "versions": {"cbed_tf": __version__, "tensorflow": tf.__version__},
        **dataclasses.asdict(measured),
        **dataclasses.asdict(verdict),
    }
