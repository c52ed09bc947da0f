"""What a training lowers: the losses of all targets, weighed and added up."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

Loss = Callable[[Any, Mapping[str, Any], bool], Any]


class Objective(keras.layers.Layer):
    """The weighted sum of the targets' losses.

    Learned weights are those of Kendall, Gal and Cipolla, 'Multi-task learning using uncertainty
    to weigh losses' (CVPR 2018): exp(-s) * loss + s / 2, with a number s for each target that is
    trained with the network, the logarithm of the target's noise. They weigh in training only; the
    dev loss keeps the fixed weights, so that its epochs can be compared.

    Args:
      loss_of: By target key.
      weights: What to multiply each one by, whatever is learned.
      learned: Keys of those that have a learned weight, too.
    """

    def __init__(
        self,
        loss_of: Mapping[str, Loss],
        weights: Mapping[str, float],
        learned: Sequence[str] = (),
    ):
        super().__init__(dtype="float32", name="objective")
        self.loss_of = dict(loss_of)
        self.target_weights = dict(weights)
        self.log_variances = {
            key: self.add_weight((), "zeros", name=f"{key}_log_variance") for key in learned
        }
        self.built = True

    def total(
        self,
        labels: Mapping[str, Any],
        answers: Mapping[str, Any],
        sample_weights: Mapping[str, Any] | None,
        training: bool,
    ) -> tuple[Any, dict[str, Any]]:
        """Returns the sum, and the mean loss of each target by its key.

        Args:
          labels: By target key, as the losses take them.
          answers: Of a `learning_form`.
          sample_weights: By target key, (batch,); None weighs all samples alike.
          training: False for the plain loss, with fixed weights.
        """
        total, means = 0.0, {}
        for key, loss in self.loss_of.items():
            losses = loss(labels[key], answers, training)
            if sample_weights:
                losses = losses * sample_weights[key]
            means[key] = ops.mean(losses)
            total += self.target_weights[key] * self._weighed(key, means[key], training)
        return total, means

    def _weighed(self, key: str, mean: Any, training: bool) -> Any:
        if not training or key not in self.log_variances:
            return mean
        log_variance = ops.convert_to_tensor(self.log_variances[key])
        return ops.exp(-log_variance) * mean + log_variance / 2
