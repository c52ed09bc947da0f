"""Trains by several workers on this machine and by one process, and says how far they differ.

    python tests/benchmarks/workers.py DATA_DIR SCRATCH --workers=2 -- --epochs=2 --batch_size=32

Everything behind `--` are flags of `cbed train`; augmentation and dropout are no good here, as each
worker has a chance of its own. Prints a Markdown table: the time of a step in the last epoch, the
greatest differences of final weights, of what BatchNormalization has gathered (where the network
has any), and of the last losses and metrics. The workers share the cores of this machine, so that
two of them do the work of one in about the same time, and what they take longer is what it costs
to agree.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

from models.reporting.reporting import PACE
from models.saving.runs import load_trained_model


def main(argv=None):
    words = list(sys.argv[1:] if argv is None else argv)
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    flags = parser.parse_args(words[:split])
    alone, together = flags.scratch / "alone", flags.scratch / "together"
    command = [sys.executable, "-m", "cbed_tf", "train", f"--data_dir={flags.data_dir}"]
    command += words[split + 1 :]
    subprocess.run([*command, f"--run_dir={alone}"], check=True)
    number = f"--local_workers={flags.workers}"
    subprocess.run([*command, f"--run_dir={together}", number], check=True)
    print("| | seconds a step | samples/s | waiting for data |")
    print("| --- | ---: | ---: | ---: |")
    for title, run in (("one process", alone), (f"{flags.workers} workers", together)):
        print(as_row(title, read_log(run)[-1], json.loads((run / "run.json").read_text())))
    print()
    for title, difference in differences(alone, together).items():
        print(f"Greatest difference of {title}: {difference:.2g}")


def read_log(run_dir):
    with (run_dir / "log.csv").open() as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def as_row(title, row, summary):
    step = row["seconds"] / summary["steps_per_epoch"]
    rate, waiting = row["samples_per_second"], 100 * row["waiting_share"]
    return f"| {title} | {step:.3f} | {rate:.0f} | {waiting:.1f} % |"


def differences(alone, together):
    """Returns the greatest difference of weights, batch statistics, losses and metrics."""
    one, two = (load_trained_model(run, "last") for run in (alone, together))
    found = {"the final weights": greatest(one.trainable_weights, two.trainable_weights)}
    statistics = [batch_statistics(model) for model in (one, two)]
    if statistics[0]:
        found["BatchNormalization's means and deviations, in deviations"] = greatest(*statistics)
    first, second = (read_log(run)[-1] for run in (alone, together))
    values = [[row[name] for name in row if name not in PACE] for row in (first, second)]
    found["the last losses and metrics"] = greatest(*values)
    return found


def greatest(ones, others):
    pairs = zip(ones, others, strict=True)
    return max(float(np.abs(np.array(one) - np.array(other)).max()) for one, other in pairs)


def batch_statistics(model):
    """Returns moving means and deviations of each layer, in its mean deviation."""
    gathered = []
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            deviation = np.sqrt(np.array(layer.moving_variance) + layer.epsilon)
            gathered += [each / deviation.mean() for each in (layer.moving_mean, deviation)]
    return gathered


if __name__ == "__main__":
    main()
