"""The loop of a training: epochs of steps, each epoch judged, everything saved on the way.

Owns what happens in which order, and that a training which is resumed takes the same steps as one
that was never interrupted. What a step does is in `steps.py`, what is saved in `checkpoints.py`,
what is said in `reporting.py`.
"""

import dataclasses
import math
from pathlib import Path
from time import perf_counter

import keras
import numpy as np

from cbed_tf.errors import CbedError
from models.learning.options import TrainingOptions
from models.reporting.reporting import Reporting, epoch_row
from models.saving.checkpoints import Checkpoints, averaged_weights
from models.saving.pace import Pace
from models.saving.state import Progress
from models.training.interruption import Interruption
from models.training.not_a_number import refuse_not_a_number
from models.training.steps import Feed, Steps
from models.training.training_data import TrainingData
from pipelines import Position


class TrainingLoop:
    """Trains from wherever the progress is until all epochs are over.

    Args:
      run_dir: The run's folder.
      steps: Of the model that is trained.
      data: What it learns from.
      options: How long, and when to stop.
      progress: Of the training so far; changed as it goes on.
      checkpoints: Saves the state and the models.
      reporting: Says what happens.
    """

    def __init__(
        self,
        run_dir: Path,
        steps: Steps,
        data: TrainingData,
        options: TrainingOptions,
        progress: Progress,
        checkpoints: Checkpoints,
        reporting: Reporting,
    ):
        self._run_dir = run_dir
        self._steps = steps
        self._fitted: keras.Model = steps.fitted
        self._data = data
        self._options = options
        self._progress = progress
        self._checkpoints = checkpoints
        self._reporting = reporting
        self._interruption = Interruption()

    def run(self) -> None:
        """Trains.

        Raises:
          CbedError: A loss was no number, or the end of the training could not be saved.
          KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
        """
        is_saved = True
        with self._interruption:
            self._save_state()  # a new run has one from the beginning, so that it can be taken up
            feed = self._data.train(self._progress.position)
            while not self._is_over():
                is_wanted_to_stop = self._learn_epoch(feed)
                is_saved = self._close_epoch()
                if is_wanted_to_stop and not self._is_over():
                    raise KeyboardInterrupt
        if not is_saved:
            raise CbedError(
                "the end of the training could not be saved, see above: make room, then the same "
                "command goes on from the last state that was"
            )

    def _is_over(self) -> bool:
        rows, patience = self._progress.rows, self._options.patience
        if len(rows) >= self._options.epochs:
            return True
        # Not by `best_epoch`, which only the machine that writes knows, and only if it could.
        judged = [row[self._data.judged_by] for row in rows]
        return bool(rows) and 0 < patience < len(rows) - judged.index(min(judged))

    def _learn_epoch(self, feed: Feed) -> bool:
        """Takes the steps that are left of an epoch; returns whether to stop behind it."""
        progress = self._progress
        first, steps = progress.position.step, self._data.steps
        if first == 0:
            self._fitted.reset_metrics()
            progress.pace = Pace()
        self._reporting.begin_epoch(progress.position.epoch + 1, self._data.samples_before(first))
        for step in range(first, steps):
            stop, save = self._learn(feed)
            is_within = step + 1 < steps  # what is over is judged before it is saved
            if is_within and (stop or save):
                self._refuse_broken_weights(dataclasses.replace(progress.position, step=step))
                self._save_state()
            if is_within and stop:
                raise KeyboardInterrupt
        return bool(stop)

    def _learn(self, feed: Feed) -> tuple[float, float]:
        """Takes a step; returns how many devices wish to stop, and to save."""
        progress, position = self._progress, self._progress.position
        start = perf_counter()
        batch = next(feed)
        waited = perf_counter() - start
        if position == Position():
            self._reporting.first_batch(self._fitted, self._steps.part(batch))
        wishes = (self._interruption.is_wanted, self._checkpoints.is_due())
        stop, save, loss = self._steps.learn(batch, wishes, hold=self._holds(position.step))
        if not math.isfinite(loss):
            means = self._fitted.get_metrics_result()
            raise refuse_not_a_number(self._run_dir, self._data, position, means)
        progress.position = dataclasses.replace(position, step=position.step + 1)
        before, samples = map(self._data.samples_before, (position.step, position.step + 1))
        progress.pace.add(samples - before, perf_counter() - start, waited)
        number = position.epoch * self._data.steps + position.step + 1
        self._reporting.step(number, samples, float(loss), progress.pace)
        return stop, save

    def _holds(self, step: int) -> bool:
        """Returns whether a step's gradients wait for another's; never over an epoch's end."""
        return (step + 1) % self._options.accumulate > 0 and step + 1 < self._data.steps

    def _refuse_broken_weights(self, position: Position) -> None:
        """Refuses weights that the step there has broken, which its loss does not tell.

        Saved, they would take the place of the last state that can go on.
        """
        if not self._checkpoints.is_sound():
            means = self._fitted.get_metrics_result()
            raise refuse_not_a_number(self._run_dir, self._data, position, means, "a weight")

    def _save_state(self) -> bool:
        is_saved = self._checkpoints.save_state(self._progress)
        self._reporting.flush(self._progress)
        return is_saved

    def _close_epoch(self) -> bool:
        """Judges, saves and reports an epoch; returns whether all of it is on the disk."""
        progress = self._progress
        epoch = progress.position.epoch + 1
        last = Position(progress.position.epoch, self._data.steps - 1)
        self._refuse_broken_weights(last)
        means = {name: float(value) for name, value in self._fitted.get_metrics_result().items()}
        with averaged_weights(self._fitted):
            judged, confusion = self._judge()
            means.update({f"val_{name}": float(value) for name, value in judged.items()})
            monitored = means[self._data.judged_by]
            if not math.isfinite(monitored):
                what = self._data.judged_by
                raise refuse_not_a_number(self._run_dir, self._data, last, means, what)
            is_best = monitored < progress.best
            is_saved = self._checkpoints.save_model(is_best)
        if is_best and is_saved:
            progress.best, progress.best_epoch = monitored, epoch
        rate = float(self._fitted.optimizer.learning_rate)
        progress.rows.append(epoch_row(epoch, means, progress.pace, rate))
        progress.position = Position(epoch, 0)
        # The state of the last epoch says that all is done, the model of it included.
        is_saved = self._checkpoints.save_state(progress, is_wanted=is_saved)
        self._reporting.end_epoch(progress, means, confusion)
        return is_saved

    def _judge(self) -> tuple[dict[str, float], np.ndarray | None]:
        if not self._data.has_dev:
            return {}, None
        self._fitted.reset_metrics()
        counts = [self._steps.judge(batch) for batch in self._data.dev()]
        return self._fitted.get_metrics_result(), None if counts[0] is None else sum(counts)
