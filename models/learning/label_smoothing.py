"""Label smoothing along the hierarchy: point group before crystal system before the rest.

To take a space group for another one of its point group is the smaller mistake, and often the
patterns differ by a few extinct reflections only; a label that says so is nearer to what can be
known.
"""

import numpy as np

from pipelines.targets import space_groups_of_class

# Of what is taken from the right class: for the others of its point group, for those of its crystal
# system in other point groups, for all the rest.
LEVEL_SHARES = (0.5, 0.3, 0.2)


def smoothing_table(share: float, counts: np.ndarray) -> np.ndarray:
    """Returns what each space group's label becomes, a row for each, float32 (230, 230).

    The right class keeps `1 - share`. What it gives goes to the levels in `LEVEL_SHARES` and to all
    classes of a level alike; what an empty level would get goes to the others in their proportion.

    Args:
      share: Taken from the right class, 0 to 1.
      counts: Samples of each space group in the training split; classes without any get nothing.
    """
    system, point_group = (space_groups_of_class(k) for k in ("crystal_system", "point_group"))
    others = (counts > 0) & ~np.eye(len(counts), dtype=bool)
    same_system, same_point_group = (x[:, None] == x for x in (system, point_group))
    levels = (same_point_group, same_system & ~same_point_group, ~same_system)
    table = np.zeros(others.shape)
    for level, weight in zip(levels, LEVEL_SHARES, strict=True):
        members = level & others
        table += weight * members / np.maximum(members.sum(axis=1, keepdims=True), 1)
    given = table.sum(axis=1, keepdims=True)
    table *= np.divide(share, given, out=np.zeros_like(given), where=given > 0)
    np.fill_diagonal(table, 1 - table.sum(axis=1))
    return table.astype(np.float32)
