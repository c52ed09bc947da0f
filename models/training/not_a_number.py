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
    run_dir: Path, data: TrainingData, position: Position, means: Mapping[str, float]
) -> CbedError:
    """Returns the error that ends such a training, after a file that names the batch's samples.

    Args:
      run_dir: The run's folder, whose models and state are left as they are.
      data: That it learned from.
      position: Of the batch.
      means: Losses and metrics of the epoch, this batch included.
    """
    path = run_dir / runs.NOT_A_NUMBER_NAME
    document = {
        "epoch": position.epoch + 1,
        "step": position.step + 1,
        "sample_ids": data.sample_ids(position),
        # As text: JSON has no such numbers.
        "losses": {k: str(float(v)) for k, v in means.items() if k.endswith("loss")},
    }
    attempt(path, lambda: write_atomically(path, (json.dumps(document, indent=1) + "\n").encode()))
    return CbedError(
        f"the loss is {float(means['loss'])} since step {position.step + 1} of epoch "
        f"{position.epoch + 1}, whose samples {path} names; models and state are those before it. "
        "Try a lower --learning_rate, --clip_norm, or the training without --mixed_precision, in "
        "another --run_dir"
    )
