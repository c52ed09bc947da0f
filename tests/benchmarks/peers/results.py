"""What the measured speeds add up to: medians, ratios within a round, tables. No measuring here."""

import dataclasses
import statistics

from benchmarks.peers.ways import LIMIT, OURS, PEER, RAW, WAYS

# {mode: {way: samples/s, a number a round}}; a way has as many rounds as all others or is left out.
Speeds = dict[str, dict[str, list[float]]]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A median and its range over the rounds."""

    median: float
    least: float
    most: float

    def text(self, form):
        return f"{self.median:{form}} ({self.least:{form}} to {self.most:{form}})"


def figure_of(numbers):
    return Figure(statistics.median(numbers), min(numbers), max(numbers))


def ratio(speeds, mode, above, below, below_mode=None):
    """Returns the ratio of two ways within each round, or None where one was not measured."""
    first = speeds.get(mode, {}).get(above)
    second = speeds.get(below_mode or mode, {}).get(below)
    if not first or not second:
        return None
    return figure_of([a / b for a, b in zip(first, second, strict=True)])


def best_peer(speeds, mode):
    """Returns the peer with the highest median, or None."""
    medians = {
        name: statistics.median(found)
        for name, found in speeds.get(mode, {}).items()
        if WAYS[name].kind == PEER
    }
    return max(medians, key=medians.get, default=None)


def table(speeds, mode):
    """Returns a Markdown table of a mode, the fastest way first after the limit and ours."""
    measured = {name: figure_of(found) for name, found in speeds[mode].items()}
    if mode != RAW and speeds.get(RAW, {}).get("limit"):
        measured["limit"] = figure_of(speeds[RAW]["limit"])
    rows = [[mode, "samples/s, median (range)", "of limit", "gather is faster by"]]
    for name in sorted(measured, key=lambda name: rank(name, measured[name].median)):
        limit_mode = RAW if name == "limit" else mode
        of_limit = ratio(speeds, limit_mode, name, "limit", RAW)
        gather = ratio(speeds, mode, "gather", name, limit_mode)
        rows.append(
            [
                WAYS[name].title,
                measured[name].text(",.0f"),
                f"{of_limit.median:.2f}" if of_limit else "",
                f"{gather.median:.1f}" if gather and name != "gather" else "",
            ]
        )
    return as_markdown(rows)


def rank(name, median):
    """Sorts the limit first, then our readers, then by speed."""
    return {LIMIT: 0, OURS: 1}.get(WAYS[name].kind, 2), -median


def as_markdown(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def comparisons(speeds):
    """Returns a line for each comparison that counts, of the modes that were measured."""
    lines = []
    for mode in speeds:
        peer = best_peer(speeds, mode)
        pairs = [("gather", "stream"), ("stream", "usual"), ("stream", "usual_pow")]
        if peer:
            pairs.insert(1, ("gather", peer))
            pairs.append(("stream", peer))
        for above, below in pairs:
            found = ratio(speeds, mode, above, below)
            if found:
                title = (
                    f"the best peer, {WAYS[below].title}" if below == peer else WAYS[below].title
                )
                lines.append(f"{mode}: {above} is {found.text('.1f')} times {title}")
    return lines
