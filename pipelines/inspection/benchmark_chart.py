"""Draws the measured speeds as bars. Matplotlib is imported when something is drawn."""

import io
from typing import TYPE_CHECKING

from pipelines.inspection.benchmark import FIRST_LAYER, MODEL_STEP, TO_DEVICE, TRAINING, Measurement
from pipelines.inspection.benchmark_report import Verdict, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Paul Tol's bright scheme: told apart by colour-blind readers too.
_READING, _DEVICE, _TRAINING, _SLOWEST = "#4477aa", "#66ccee", "#33475b", "#ee6677"
_COLOURS = {TO_DEVICE: _DEVICE, FIRST_LAYER: _DEVICE, MODEL_STEP: _DEVICE, TRAINING: _TRAINING}


def draw_speeds(measured: Measurement, verdict: Verdict) -> bytes:
    """Returns a PNG: a bar for each stage on a logarithmic axis, its range, and the read limit."""
    from matplotlib.figure import Figure

    stages = measured.stages
    figure = Figure((9, 1.9 + 0.42 * len(stages)), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for row, stage in enumerate(stages):
        median, slowest, fastest = stage.samples_per_second
        is_slowest = stage.name == verdict.bottleneck
        colour = _SLOWEST if is_slowest else _COLOURS.get(stage.name, _READING)
        axes.barh(row, median, 0.66, color=colour)
        axes.plot([slowest, fastest], [row, row], color="#222222", linewidth=1.2)
        text = f"{short(median)}  ({stage.megabytes_per_second:,.0f} MB/s)"
        axes.annotate(
            f"{text}  bottleneck" if is_slowest else text,
            (fastest, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight="bold" if is_slowest else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
    speeds = [speed for stage in stages for speed in stage.samples_per_second]
    axes.set_xscale("log")
    # Room for the numbers at the bars' ends.
    axes.set_xlim(min(speeds) / 2.5, max(speeds) * (max(speeds) / min(speeds)) ** 0.45 * 2)
    axes.set_yticks(range(len(stages)), [_title(stage.name, measured) for stage in stages])
    axes.set_ylim(len(stages) - 0.4, -0.75)
    limit = stages[0].samples_per_second[0]
    axes.axvline(limit, color="#aa3377", linewidth=1.2, linestyle="--", zorder=1.5)
    _decorate(axes)
    axes.set_xlabel(_caption(measured, verdict), loc="left")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    return stream.getvalue()


def _title(name: str, measured: Measurement) -> str:
    if name == MODEL_STEP:
        return f"{name}, {measured.model}"
    return f"{name}: {measured.reader} and step" if name == TRAINING else name


def _decorate(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.grid(True, color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _caption(measured: Measurement, verdict: Verdict) -> str:
    lines = [
        "samples/s, logarithmic: medians; black lines: smallest to largest; dashed: read limit",
        f"batches of {measured.batch_size} samples of {measured.sample_bytes / 1e6:,.3g} MB, "
        f"{'from memory' if measured.from_memory else 'from the disk'}; {measured.device}",
    ]
    if verdict.lost_to_reading is not None:
        lines[-1] += f"; {verdict.lost_to_reading:.0%} of the time lost to reading"
    return "\n".join(lines)
