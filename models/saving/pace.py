"""How fast a training is, and how much of its time it waits for data."""

import dataclasses


@dataclasses.dataclass
class Pace:
    """Time that learning took, of an epoch.

    Attributes:
      samples: That were learned from, on all machines.
      seconds: That this took.
      waited: Of these, those in which there was no batch to learn from.
    """

    samples: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def samples_per_second(self) -> float:
        """Samples in a second, on all machines."""
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time without data, 0 to 1."""
        return self.waited / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> str:
        """The same for people."""
        return f"{100 * self.waiting_share:.0f} % waiting for data"

    def __str__(self) -> str:
        return f"{self.samples_per_second:.0f} samples/s, {self.waiting}"

    def add(self, samples: int, seconds: float, waited: float) -> None:
        """Counts a step."""
        self.samples += samples
        self.seconds += seconds
        self.waited += waited
