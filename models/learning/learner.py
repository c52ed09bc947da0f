"""The form of a model that is fitted: it knows the objective and reports on each target.

Trained by Keras's own steps, whoever calls them: `fit`, `train_on_batch`, or a loop around
`train_step`.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cbed_tf.dataset.encoding import Encoding
from cbed_tf.schema import PATTERN_MAX
from models.learning.metrics import make_metrics
from models.learning.objective import Objective
from models.networks.network import front_for, learning_form
from pipelines import Target


class Learner(keras.Model):
    """Fits a model to an objective, or to any loss that Keras knows.

    It shares the model's weights and is not saved itself: what is saved, exported and asked is the
    model of `build_model`.

    Args:
      model: Takes raw intensities: from `build_model`, or anyone's own.
      encoding: Of the patterns that it is fitted to, if they are not raw intensities.
    """

    def __init__(self, model: keras.Model, encoding: Encoding | None = None, **kwargs: Any):
        # A float16 policy is for the model's layers; raw intensities would not survive it here.
        super().__init__(autocast=False, **kwargs)
        self.model = learning_form(model)
        self.front = front_for(self.model, encoding) if encoding else self.model
        self.objective = None
        self.loss_means = {}
        self.target_metrics = {}

    def build(self, input_shape: Any) -> None:
        """Has nothing to build."""

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Returns the model's answers to raw intensities or to 16-bit patterns."""
        is_encoded = isinstance(images, dict) and PATTERN_MAX.name in images
        network = self.front if is_encoded else self.model
        return network(images, training=training)

    def pursue(self, objective: Objective, targets: tuple[Target, ...]) -> None:
        """Says what to lower and what to report; before `compile`, which then needs no loss.

        Args:
          objective: Has a loss for each target.
          targets: Each is reported by its metrics, and by its loss where there are several.
        """
        self.objective = objective
        if len(targets) > 1:
            self.loss_means = {t.key: keras.metrics.Mean(f"{t.key}_loss") for t in targets}
        self.target_metrics = {t.key: make_metrics(t) for t in targets}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Mapping[str, Any] | None = None,
        training: bool = True,
    ) -> Any:
        """Returns the loss of a batch; of several devices, this one's share of the mean."""
        if self.objective is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        total, means = self.objective.total(y, y_pred, sample_weight, training)
        for key, metric in self.loss_means.items():
            metric.update_state(means[key], sample_weight=ops.shape(y[key])[0])
        return total / tf.distribute.get_strategy().num_replicas_in_sync

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Counts a batch and returns all that is reported so far."""
        for key, metrics in self.target_metrics.items():
            for metric in metrics:
                metric.update_state(y[key], y_pred[key])
        return super().compute_metrics(x, y, y_pred, sample_weight)
