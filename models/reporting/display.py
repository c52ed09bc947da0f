"""What someone who watches a training sees: a bar on a terminal, lines elsewhere."""

import logging
import sys
from collections.abc import Mapping
from time import monotonic

from tqdm import tqdm

from models.learning.metrics import headline_names
from models.saving.pace import Pace

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 60.0


class Display:
    """Shows how far an epoch is, how fast, and what came of it.

    Args:
      epochs: How many there will be.
      samples: In the training split.
    """

    def __init__(self, epochs: int, samples: int):
        self._epochs = epochs
        self._samples = samples
        self._bar = None
        self._epoch = 0
        self._last_line = monotonic()

    def begin(self, epoch: int, samples: int) -> None:
        """Begins an epoch, counted from 1, some samples of which may be done."""
        self._epoch = epoch
        if sys.stderr.isatty():
            title = f"epoch {epoch} of {self._epochs}"
            self._bar = tqdm(
                desc=title, total=self._samples, initial=samples, unit="sample", leave=False
            )

    def step(self, samples: int, loss: float, pace: Pace) -> None:
        """Says that so many samples of the epoch are done, and their mean loss."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4g}, {pace.waiting}", refresh=False)
            self._bar.update(samples - self._bar.n)
        elif monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            share = 100 * samples / self._samples
            self._say(f"{share:.0f} % of epoch {self._epoch}: loss {loss:.4g} ({pace})")

    def end(self, means: Mapping[str, float], pace: Pace) -> None:
        """Says what an epoch came to: the loss and the first metric of each target."""
        self.close()
        names = headline_names(means)
        dev = {n: f" (dev {means[f'val_{n}']:.3g})" for n in names if f"val_{n}" in means}
        summary = ", ".join(f"{name} {means[name]:.3g}{dev.get(name, '')}" for name in names)
        self._say(f"epoch {self._epoch} of {self._epochs}: {summary} ({pace})")

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _say(self, line: str) -> None:
        self._last_line = monotonic()
        _LOG.info("%s", line)
