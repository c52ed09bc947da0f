"""What is left of a training whose loss became no number: which samples did it, and to what."""

import json
from collections.abc import Mapping
from pathlib import Path

from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError
from models.saving import runs
from models.saving.writing import attempt
from models.training.training_data import TrainingData
from pipelines import Position


def refuse_not_a_number(
    run_dir: Path,
    data: TrainingData,
    position: Position,
    means: Mapping[str, float],
    what: str = "the loss",
) -> CbedError:
    """Returns the error that ends such a training, after a file that names samples to look at.

    An update that breaks the weights shows in the loss of the next step only, so the file names the
    samples of both.

    Args:
      run_dir: The run's folder, whose models and state are left as they are.
      data: That it learned from.
      position: Of the batch behind which it showed.
      means: Losses and metrics of the epoch, this batch included.
      what: Is no number.
    """
    path = run_dir / runs.NOT_A_NUMBER_NAME
    before = _before(position, data.steps)
    document = {
        "epoch": position.epoch + 1,
        "step": position.step + 1,
        "sample_ids": data.sample_ids(position),
        "sample_ids_before": data.sample_ids(before) if before else [],
        # As text: JSON has no such numbers.
        "losses": {k: str(float(v)) for k, v in means.items() if k.endswith("loss")},
    }
    attempt(path, lambda: write_atomically(path, (json.dumps(document, indent=1) + "\n").encode()))
    return CbedError(
        f"{what} is no number any more since step {position.step + 1} of epoch "
        f"{position.epoch + 1}: {path} names its samples and those of the step before it, whose "
        "update may have done it. Models and state are the last ones saved. Try a lower "
        "--learning_rate, --clip_norm, or the training without --mixed_precision, in another "
        "--run_dir"
    )


def _before(position: Position, steps: int) -> Position | None:
    """Returns where the step before was; None before the first one."""
    if position == Position():
        return None
    return position.after(-1, steps)
