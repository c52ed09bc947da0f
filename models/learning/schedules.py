"""How learning rate and momentum change over a training: cosine, one cycle, or constant.

Functions of the number of updates alone, so that a resumed training needs no state of them.
"""

import dataclasses
import math
from typing import Any

from keras import ops

COSINE = "cosine"
ONE_CYCLE = "one_cycle"
CONSTANT = "constant"
_MOMENTUM = 0.9
# Those of Smith, Super-convergence (2018), as fast.ai and torch have them.
_ONE_CYCLE_MOMENTA = (0.95, 0.85)
_ONE_CYCLE_FIRST = 1 / 25
_WARMUP_FIRST = 1 / 10


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Learning rate and momentum (beta_1 of Adam) of every update.

    The learning rate rises over the first share `warmup` of the updates: in a straight line from a
    tenth, or with one_cycle in half a cosine from 1/25. Then it falls to 0 in half a cosine, or
    stays with constant. The momentum of one_cycle falls from 0.95 to 0.85 while the learning rate
    rises, and returns while it falls; it is 0.9 otherwise.

    Attributes:
      kind: COSINE, ONE_CYCLE or CONSTANT.
      greatest: Learning rate at its greatest.
      updates: Of the weights, in the whole training.
      warmup: Share of these.
    """

    kind: str
    greatest: float
    updates: int
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in (COSINE, ONE_CYCLE, CONSTANT):
            raise ValueError(f"kind is {self.kind!r}, should be cosine, one_cycle or constant")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}, should be at least 0 and below 1")

    def learning_rate(self, update: Any) -> Any:
        """Returns the learning rate of an update, counted from 0; a float32 scalar."""
        risen, fallen = self._progress(update)
        if self.kind == ONE_CYCLE:
            rise = _ONE_CYCLE_FIRST + (1 - _ONE_CYCLE_FIRST) * _swing(risen)
        else:
            rise = _WARMUP_FIRST + (1 - _WARMUP_FIRST) * risen
        fall = 1.0 if self.kind == CONSTANT else 1 - _swing(fallen)
        return self.greatest * rise * fall

    def momentum(self, update: Any) -> Any:
        """Returns the momentum of an update, likewise."""
        if self.kind != ONE_CYCLE:
            return ops.convert_to_tensor(_MOMENTUM, "float32")
        most, least = _ONE_CYCLE_MOMENTA
        risen, fallen = self._progress(update)
        return most + (least - most) * (_swing(risen) - _swing(fallen))

    def _progress(self, update: Any) -> tuple[Any, Any]:
        """Returns how far the rise and the fall are, each 0 to 1."""
        update = ops.cast(update, "float32")
        rising = int(self.updates * self.warmup)
        risen = ops.minimum(update / rising, 1.0) if rising else ops.ones_like(update)
        fallen = ops.clip((update - rising) / max(1, self.updates - rising), 0.0, 1.0)
        return risen, fallen


def _swing(progress: Any) -> Any:
    """Returns half a cosine from 0 to 1."""
    return (1 - ops.cos(math.pi * progress)) / 2
