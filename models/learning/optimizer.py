"""AdamW as `cbed train` uses it: schedule, clipping, average of the weights, several devices.

Keras's own optimizers clip each device's gradients before they are added up, let an overflow on one
device through to all, count steps where a schedule means updates, and lose the last, incomplete
accumulation of an epoch; so these are done here, in that order, on the sum over all devices.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from models.learning.schedules import Schedule

_BETA_2 = 0.999
_EPSILON = 1e-7
_FIRST_SCALE = 2.0**15
_STEPS_TO_DOUBLE = 2000


@keras.saving.register_keras_serializable("cbed_tf")
class ScheduledAdamW(keras.optimizers.Optimizer):
    """Decoupled weight decay (Loshchilov and Hutter), by a schedule.

    Gradients are averaged over all samples since the last update, on all devices, whatever the
    sizes of the batches: say `counts` before its gradients come. `accumulates` holds back the
    update. Both are heeded when a graph is traced.

    Args:
      schedule: Of learning rate and momentum.
      weight_decay: Share of a weight, times the learning rate, that an update takes off.
      clip_norm: Greatest norm of all gradients together; 0 for any.
      ema: Momentum of the moving averages of the weights; 0 for none. After n updates it is at most
        (1 + n) / (10 + n), so that the first weights are soon forgotten.
      has_accumulation: Make room for gradients that are held back.
      scales_loss: Keep small gradients of float16 above 0 by a factor on the loss, halved when
        gradients overflow, in an update that is then left out.

    Attributes:
      accumulates: Whether gradients are held back.
      averages: Variables with the averages of the weights, in their order; empty without `ema`.
    """

    def __init__(
        self,
        schedule: Schedule | dict[str, Any],
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        ema: float = 0.0,
        has_accumulation: bool = False,
        scales_loss: bool = False,
        name: str = "scheduled_adamw",
    ):
        if isinstance(schedule, dict):
            schedule = Schedule(**schedule)
        super().__init__(learning_rate=lambda: schedule.learning_rate(self._iterations), name=name)
        self.schedule = schedule
        self.decay = weight_decay
        self.clip_norm = clip_norm
        self.ema = ema
        self.has_accumulation = has_accumulation
        self.scales_loss = scales_loss
        self.accumulates = False
        self._sizes = threading.local()  # each device has a thread of its own

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the optimizer's own variables."""
        if self.built:
            return
        super().build(variables)
        self.means = self.add_optimizer_variables(variables, "momentum")
        self.squares = self.add_optimizer_variables(variables, "velocity")
        # One minus this corrects a mean that began at 0; a power of beta_1 where it is constant.
        self.momentum_product = self._number("momentum_product", 1.0)
        self.averages = []
        if self.ema:
            self.averages = self.add_optimizer_variables(variables, "average")
            for average, variable in zip(self.averages, variables, strict=True):
                average.assign(variable)
        self.held = []
        if self.has_accumulation:
            self.held = self.add_optimizer_variables(variables, "held_gradient")
            self.held_samples = self._number("held_samples", 0.0)
        if self.scales_loss:
            self.loss_scale = self._number("loss_scale", _FIRST_SCALE)
            self.finite_steps = self._number("finite_steps", 0.0)

    @contextlib.contextmanager
    def counts(self, samples: Any) -> Iterator[None]:
        """Says how many samples the gradients that come inside are the mean of; else they are 1."""
        self._sizes.samples = samples
        try:
            yield
        finally:  # a tensor of one graph is no use to another
            del self._sizes.samples

    def scale_loss(self, loss: Any) -> Any:
        """Returns the loss whose gradients are to be applied."""
        return loss * ops.cast(self.loss_scale, loss.dtype) if self.scales_loss else loss

    def apply(self, grads: list[Any], trainable_variables: Any = None) -> None:
        """Takes in the gradients of a batch; changes the weights unless `accumulates`."""
        if trainable_variables is not None and not self.built:
            self.build(list(trainable_variables))
        sums, samples = self._sum_over_devices(grads)
        if self.scales_loss:
            sums, samples = self._without_overflow(sums, samples)
        if self.held:
            sums, samples = self._with_held(sums, samples)
        if not self.accumulates:
            # With nothing but overflows there is nothing to divide by, and nothing to be changed.
            is_usable = samples > 0 if self.scales_loss else True
            self._update([gradient / ops.maximum(samples, 1.0) for gradient in sums], is_usable)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        schedule = self.schedule
        return {
            "schedule": {name: getattr(schedule, name) for name in schedule.__dataclass_fields__},
            "weight_decay": self.decay,
            "clip_norm": self.clip_norm,
            "ema": self.ema,
            "has_accumulation": self.has_accumulation,
            "scales_loss": self.scales_loss,
            "name": self.name,
        }

    def _number(self, name: str, value: float) -> keras.Variable:
        return self.add_variable((), keras.initializers.Constant(value), "float32", name=name)

    def _sum_over_devices(self, grads: list[Any]) -> tuple[list[Any], Any]:
        """Returns the sum of all samples' gradients, and their number, over all devices."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        samples = ops.cast(getattr(self._sizes, "samples", 1), "float32")
        factor = samples * replicas  # keras has divided the loss by their number
        if self.scales_loss:
            factor = factor / self.loss_scale
        sums = [
            ops.zeros_like(weight) if gradient is None else tf.convert_to_tensor(gradient) * factor
            for gradient, weight in zip(grads, self._trainable_variables, strict=True)
        ]
        if replicas > 1:
            samples, *sums = _reduced([samples, *sums])
        return sums, samples

    def _without_overflow(self, sums: list[Any], samples: Any) -> tuple[list[Any], Any]:
        """Returns nothing of gradients that are not all finite; adapts the factor on the loss."""
        is_finite = ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in sums]))
        steps = ops.where(is_finite, self.finite_steps + 1, 0.0)
        is_due = steps >= _STEPS_TO_DOUBLE
        factor = ops.where(is_finite, ops.where(is_due, 2.0, 1.0), 0.5)
        self.loss_scale.assign(self.loss_scale * factor)
        self.finite_steps.assign(ops.where(is_due, 0.0, steps))
        sums = [ops.where(is_finite, gradient, 0.0) for gradient in sums]
        return sums, ops.where(is_finite, samples, 0.0)

    def _with_held(self, sums: list[Any], samples: Any) -> tuple[list[Any], Any]:
        """Returns sums with those held back before; holds these back, or none after an update."""
        sums = [held + gradient for held, gradient in zip(self.held, sums, strict=True)]
        samples = self.held_samples + samples
        for held, gradient in zip(self.held, sums, strict=True):
            held.assign(gradient if self.accumulates else ops.zeros_like(gradient))
        self.held_samples.assign(samples if self.accumulates else 0.0)
        return sums, samples

    def _update(self, gradients: list[Any], is_usable: Any) -> None:
        """Changes weights, averages and the optimizer's own state, if there is something usable."""

        def assign(variable: keras.Variable, value: Any) -> Any:
            value = value if is_usable is True else ops.where(is_usable, value, variable)
            variable.assign(value)
            return value

        if self.clip_norm:
            factor = self.clip_norm / ops.maximum(_norm(gradients), self.clip_norm)
            gradients = [gradient * factor for gradient in gradients]
        update = ops.cast(self._iterations, "float32")
        rate, beta_1 = self.schedule.learning_rate(update), self.schedule.momentum(update)
        product = assign(self.momentum_product, self.momentum_product * beta_1)
        step = rate * ops.sqrt(1 - _BETA_2 ** (update + 1)) / (1 - product)
        for k, (weight, gradient) in enumerate(
            zip(self._trainable_variables, gradients, strict=True)
        ):
            mean, square = self.means[k], self.squares[k]
            mean = assign(mean, mean + (gradient - mean) * (1 - beta_1))
            square = assign(square, square + (ops.square(gradient) - square) * (1 - _BETA_2))
            kept = weight * (1 - self.decay * rate)
            weight = assign(weight, kept - mean * (step / (ops.sqrt(square) + _EPSILON)))
            if self.ema:
                share = 1 - ops.minimum(self.ema, (1 + update) / (10 + update))
                assign(self.averages[k], self.averages[k] + (weight - self.averages[k]) * share)
        self._iterations.assign_add(ops.cast(is_usable, self._iterations.dtype))


def _reduced(tensors: list[Any]) -> list[Any]:
    """Returns the sums of tensors over all devices, sent as one: small ones take far longer."""
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    flat = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flat)
    pieces = tf.split(flat, [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(p, t.shape) for p, t in zip(pieces, tensors, strict=True)]


def _norm(tensors: list[Any]) -> Any:
    """Returns the Euclidean norm of all tensors together."""
    return ops.sqrt(sum(ops.sum(ops.square(tensor)) for tensor in tensors))
