"""Kills a training again and again, and lays it beside one that was left alone.

    python tests/benchmarks/kills.py DATA_DIR SCRATCH --kills=10 -- --epochs=8 --augment=usual

Everything behind `--` are flags of `cbed train`. Both trainings have them; one of them is ended by
kill -9 at random moments after its first steps and started again by the same command. States are
saved after every step or so, so that kills fall into the middle of epochs; if the training is over
before all kills are done, that is said. Prints a Markdown table of the kills and the greatest
differences of losses, metrics and final weights, and draws both curves into SCRATCH/kills.png.
"""

import argparse
import contextlib
import csv
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from models.reporting.reporting import PACE
from models.saving.runs import STATE_NAME, SUMMARY_NAME, load_trained_model
from models.saving.state import read_state

# Between two states: less than a step of most networks.
_MINUTES = 0.001


def main(argv=None):
    words = list(sys.argv[1:] if argv is None else argv)
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(words[:split])
    alone, killed = flags.scratch / "alone", flags.scratch / "killed"
    command = [sys.executable, "-m", "cbed_tf", "train", f"--data_dir={flags.data_dir}"]
    command += [f"--checkpoint_minutes={_MINUTES}", *words[split + 1 :]]
    seconds = train_alone([*command, f"--run_dir={alone}"], alone)
    longest = 2 * seconds / (flags.kills + 1)
    kills = train_killed([*command, f"--run_dir={killed}"], killed, flags, longest)
    print_table(kills)
    if len(kills) < flags.kills:
        print(f"\nThe training was over after {len(kills)} of {flags.kills} kills: more epochs!")
    print(f"\n{compare(alone, killed)}")
    draw(flags.scratch / "kills.png", alone, killed, kills)


def start(command, run_dir):
    """Starts a training; returns it when it has saved a step of its own."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = iter(process.stderr.readline, "")
    if not any(line.startswith("training ") for line in lines):
        raise RuntimeError(f"the training ended with {process.wait()} before it began")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    states, expected = set(), 3 if (run_dir / STATE_NAME).exists() else 2
    # The one before, if any, that of the beginning, a step's.
    while len(states) < expected and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            states.add((run_dir / STATE_NAME).stat().st_mtime_ns)
        time.sleep(0.01)
    return process


def train_alone(command, run_dir):
    """Returns the seconds that learning took, from the first step on."""
    process = start(command, run_dir)
    began = time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - began


def train_killed(command, run_dir, flags, longest):
    """Returns (seconds from its first step on, epochs and steps that are saved) of each kill."""
    dice, kills = random.Random(flags.seed), []
    while True:
        process = start(command, run_dir)
        seconds = dice.uniform(0, longest)
        try:
            process.wait(timeout=seconds if len(kills) < flags.kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.returncode == 0 or (run_dir / SUMMARY_NAME).exists():
            return kills
        assert process.returncode == -signal.SIGKILL
        position = read_state(run_dir / STATE_NAME)[1].position
        kills.append((seconds, position.epoch, position.step))


def print_table(kills):
    print("| kill | seconds after a first step | goes on after epochs | and steps |")
    print("| ---: | ---: | ---: | ---: |")
    for number, (seconds, epochs, steps) in enumerate(kills, start=1):
        print(f"| {number} | {seconds:.1f} | {epochs} | {steps} |", flush=True)


def read_curves(run_dir):
    """Returns losses and metrics by name, one number an epoch."""
    with (run_dir / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in PACE]
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def compare(alone, killed):
    """Returns a line that says how much two runs differ."""
    one, two = read_curves(alone), read_curves(killed)
    curves = max(np.abs(one[name] - two[name]).max() for name in one)
    first, second = (load_trained_model(run, "last").get_weights() for run in (alone, killed))
    weights = max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))
    return (
        f"Greatest difference of {len(one) - 1} losses and metrics over {len(one['loss'])} epochs: "
        f"{curves:.3g}; of the final weights: {weights:.3g}"
    )


def draw(path, alone, killed, kills):
    from matplotlib.figure import Figure

    one, two = read_curves(alone), read_curves(killed)
    names = [name for name in ("loss", "val_loss") if name in one]
    figure = Figure(figsize=(4.2 * len(names), 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        steps = range(1, len(one[name]) + 1)
        axes.plot(steps, one[name], color="#b9c7d4", linewidth=6, label="left alone")
        axes.plot(steps, two[name], color="#33475b", linewidth=1.2, label="killed")
        for _, epochs, _ in kills:
            axes.axvline(epochs + 0.5, color="#c0392b", linewidth=0.6, linestyle=":")
        axes.set(xlabel="epoch", title={"loss": "loss on train", "val_loss": "loss on dev"}[name])
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
