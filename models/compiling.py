"""Gives a model its losses and metrics, target by target."""

from collections.abc import Sequence

import keras

from cbed_tf.manifest import Manifest
from models.heads import make_loss, make_metrics
from pipelines import Target


def compile_model(
    model: keras.Model,
    targets: Sequence[Target],
    manifest: Manifest,
    optimizer: keras.optimizers.Optimizer,
    target_weights: dict[str, float] | None = None,
) -> None:
    """Gives a model of `build_model` its losses and metrics, ready for `model.fit`.

    Args:
      model: Answers the targets.
      targets: As in `build_model`.
      manifest: Of the training data; its statistics weigh the losses of quantities.
      optimizer: Of the caller's choice; one that has `scales_loss` is left alone in half precision,
        where keras wraps all others to scale the loss.
      target_weights: What to multiply losses by; 1 for targets that are not named.
    """
    # Keras puts the output's name before a metric's only where there are several outputs.
    prefixes = {target.key: "" if len(targets) > 1 else f"{target.key}_" for target in targets}
    model.compile(
        optimizer,
        loss={t.key: make_loss(t, manifest.statistics.get(t.key)) for t in targets},
        loss_weights={t.key: float((target_weights or {}).get(t.key, 1.0)) for t in targets},
        metrics={t.key: make_metrics(t, prefixes[t.key]) for t in targets},
        auto_scale_loss=not hasattr(optimizer, "scales_loss"),
    )
