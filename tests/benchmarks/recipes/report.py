"""Writes what a comparison has found as JSON, as Markdown tables and as a chart."""

import json
import statistics

from benchmarks.peers.results import as_markdown
from benchmarks.recipes.chart import draw_scores

from cbed_tf.durable import write_atomically

AIM_POINTS = 10
SPLIT_TITLES = {"dev": "dev", "prototypes": "held-out prototypes"}
SCORE_TITLES = {
    "top1": "top-1",
    "macro_f1": "macro-F1",
    "crystal_system": "crystal system",
    "top5": "top-5",
}
_MB = 10**6


def report(found, folder, name):
    """Writes NAME.json, NAME.md and NAME.png into a folder; returns the tables.

    Args:
      found: From `findings`.
      folder: Where to.
      name: Of the files.
    """
    text = "\n\n".join(filter(None, [caption(found), *tables(found), *closing(found)]))
    write_atomically(folder / f"{name}.json", (json.dumps(found, indent=1) + "\n").encode())
    write_atomically(folder / f"{name}.md", f"{text}\n".encode())
    if found["splits"]:
        draw_scores(found, folder / f"{name}.png")
    return text


def caption(found):
    trained = f"{found['minutes']:g} min" if found["minutes"] else "the same number of epochs"
    return (
        f"Each trained for {trained} on {found['machine']['cores']} cores, seeds: "
        f"{found['seeds']}; scores of the {found['checkpoint']} model in percent: mean over the "
        "seeds (smallest to largest) [95 % interval over the materials judged]."
    )


def tables(found):
    """Yields the tables, each below a line that says what it shows."""
    for split, judged in found["splits"].items():
        yield split_caption(split, judged)
        yield score_table(found, judged)
    if len(found["methods"]) > 1 and found["splits"]:
        yield difference_caption(found)
        yield difference_table(found)
    for split, judged in found["splits"].items():
        if rows := error_rows(found, judged):
            title = SPLIT_TITLES[split].capitalize()
            yield f"{title}: the other targets, beside always answering the mean over train"
            yield as_markdown([["", "target", "score", "model", "train's mean", "ahead"], *rows])
    if rows := list(cost_rows(found)):
        yield "What a training costs, means over the seeds"
        yield as_markdown([COST_HEADER, *rows])
    yield from fitting_lines(found)


def difference_caption(found):
    if found["leave_out"]:
        return "What each ingredient brings, in points of top-1 [95 % interval]"
    first = next(iter(found["methods"].values()))
    return (
        f"By how many points of top-1 {first} is ahead of the others [95 % interval], and whether "
        f"that is {AIM_POINTS} at least"
    )


def split_caption(split, judged):
    return (
        f"{SPLIT_TITLES[split].capitalize()}: {judged['samples']:,} samples of "
        f"{judged['materials']:,} materials, {judged['train_samples']:,} samples to learn from"
    )


def score_table(found, judged):
    rows = [["", *SCORE_TITLES.values()]]
    for name, method in judged["methods"].items():
        cells = [figure(method["scores"][score]) for score in SCORE_TITLES]
        rows.append([found["methods"][name], *cells])
    baselines = next(iter(judged["methods"].values()))["scores"]
    cells = [f"{100 * baselines[score]['baseline']:.1f}" for score in SCORE_TITLES]
    rows.append(["always the most frequent class", *cells])
    return as_markdown(rows)


def figure(entry):
    """Returns a score in percent for a table: mean (range over the seeds) [interval]."""
    text = f"{100 * entry['mean']:.1f}"
    if len(entry["by_seed"]) > 1:
        text += f" ({100 * entry['least']:.1f} to {100 * entry['most']:.1f})"
    if entry["interval"]:
        text += " [{:.0f}, {:.0f}]".format(*(100 * bound for bound in entry["interval"]))
    return text


def difference_table(found):
    splits, others = found["splits"], list(found["methods"])[1:]
    rows = [["", *(SPLIT_TITLES[split] for split in splits)]]
    for name in others:
        cells = [difference_cell(splits[split], name, not found["leave_out"]) for split in splits]
        rows.append([found["methods"][name], *cells])
    return as_markdown(rows)


def difference_cell(judged, name, aim):
    behind = judged["methods"].get(name, {}).get("behind", {}).get("top1")
    if behind is None:
        return "–"
    points = 100 * behind["mean"]
    text = f"{points:+.1f}"
    if behind["interval"]:
        text += " [{:+.0f}, {:+.0f}]".format(*(100 * bound for bound in behind["interval"]))
    return f"{text} {'yes' if points >= AIM_POINTS else 'no'}" if aim else text


def error_rows(found, judged):
    """Returns a row for each method and score of another target."""
    rows = []
    for name, method in judged["methods"].items():
        for score, entry in method["scores"].items():
            key, _, kind = score.partition(" ")
            if kind:
                # An F1 is to be large, an error small.
                ahead = (entry["mean"] - entry["baseline"]) * (1 if kind == "element_f1" else -1)
                cells = [key, KIND_TITLES[kind], error_figure(entry), f"{entry['baseline']:.3g}"]
                rows.append([found["methods"][name], *cells, "yes" if ahead > 0 else "NO"])
    return rows


KIND_TITLES = {"mae": "mean abs. error", "element_f1": "element F1"}


def error_figure(entry):
    text = f"{entry['mean']:.3g}"
    if len(entry["by_seed"]) > 1:
        text += f" ({entry['least']:.3g} to {entry['most']:.3g})"
    if entry["interval"]:
        text += " [{:.3g}, {:.3g}]".format(*entry["interval"])
    return text


COST_HEADER = [
    *("", "data", "minutes", "epochs", "ms a step", "waiting for data", "peak memory"),
    *("parameters", "model file", "ms a sample, asked 1 / 32 at a time"),
]


def cost_rows(found):
    for name, by_split in found["costs"].items():
        for split, spent in by_split.items():
            if "parameters" in spent[0]:
                yield [found["methods"][name], SPLIT_TITLES[split], *cost_cells(spent)]


def cost_cells(spent):
    latencies = [mean([cost["latency_ms"] for cost in spent], size) for size in ("1", "32")]
    return [
        f"{mean(spent, 'minutes'):.1f}",
        f"{mean(spent, 'epochs'):.0f}",
        f"{1000 * mean(spent, 'seconds_per_step'):.0f}",
        f"{100 * mean(spent, 'waiting_share'):.1f} %",
        f"{mean(spent, 'peak_bytes') / _MB:,.0f} MB",
        f"{spent[0]['parameters']:,}",
        f"{mean(spent, 'model_bytes') / _MB:.1f} MB",
        " / ".join(f"{latency:.1f}" for latency in latencies),
    ]


def fitting_lines(found):
    """Yields how long the classical methods took, which cost nothing else to speak of."""
    for name, by_split in found["costs"].items():
        seconds = {
            SPLIT_TITLES[split]: mean(spent, "fit_seconds")
            for split, spent in by_split.items()
            if "fit_seconds" in spent[0]
        }
        if seconds:
            times = ", ".join(f"{value:.0f} s ({split})" for split, value in seconds.items())
            yield f"{found['methods'][name]}: fitted in {times}"


def mean(entries, name):
    return statistics.mean(entry[name] for entry in entries)


def closing(found):
    """Yields what was not measured, and with what the rest was."""
    for name, reason in found["failed"].items():
        yield f"{found['methods'][name]}: LEFT OUT: {reason}"
    machine = found["machine"]
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    yield ", ".join([f"Python {machine['python']}", *versions])
