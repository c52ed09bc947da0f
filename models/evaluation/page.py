"""The report on a split as one web page."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cbed_tf.inspection.charts import as_svg
from cbed_tf.inspection.document import Block, Gallery, Heading, Paragraph, Picture, as_html
from models.evaluation import charts, detail_tables
from models.evaluation.answers import main_target
from models.evaluation.gallery import mistake_pictures
from models.evaluation.judged import Judged, read_history
from models.evaluation.reliability import BINS
from models.evaluation.tables import (
    component_titles,
    headline_table,
    number,
    run_names,
    span,
    title,
)
from models.networks.probabilities import COARSER, SPACE_GROUP
from pipelines.targets import CLASSES, FRACTIONS, QUANTITY

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report_page(
    document: Mapping[str, Any], judged: Sequence[Judged], figures: Mapping[str, "Figure"]
) -> str:
    """Returns the report as HTML, pictures within.

    Args:
      document: What is in the metrics file.
      judged: The run, and the other one in a comparison.
      figures: From `pictures.draw`, of the run.
    """
    names = run_names([one.run_dir for one in judged])
    heading = f"{' and '.join(names)} on {document['split']}"
    blocks: list[Block] = [Heading(heading, 1), *_lead(document["scores"], names)]
    blocks += _outline(document, judged)
    blocks += _headline(document, names)
    blocks += _space_groups(document["scores"], figures, names[1:])
    blocks += _probabilities(document, names, figures)
    blocks += _quantities(document["scores"], judged[0], figures)
    blocks += _composition(document["scores"], figures)
    blocks += _mistakes(judged, names[1:])
    blocks += _training(judged, names)
    return as_html(blocks, heading)


def _lead(documents: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[Block]:
    """Returns the one sentence that should be remembered."""
    if SPACE_GROUP not in documents:
        return []
    first, five = documents[SPACE_GROUP]["top1"], documents[SPACE_GROUP]["top5"]
    shares = f"{number('top1', first['model'])} of the space groups are right"
    if first.get("interval"):
        shares += f" (95 % interval {span('top1', first['interval'])})"
    text = f"{shares}, {number('top5', five['model'])} among the five most probable; "
    if "other" in first:
        text = f"{names[0]}: {text}{names[1]}: {number('top1', first['other'])}; "
    return [Paragraph(text + f"the baseline has {number('top1', first['baseline'])}.")]


def _outline(document: Mapping[str, Any], judged: Sequence[Judged]) -> list[Block]:
    weights = " and ".join(f"{one.weights:,}" for one in judged)
    models = f"model of {judged[0].run_dir}"
    if len(judged) == 2:
        models = f"models of {judged[0].run_dir} and of {judged[1].run_dir}"
    text = (
        f"The {document['checkpoint']} {models} ({weights} weights), asked about "
        f"{document['samples']:,} samples of {document['materials']:,} materials: the "
        f"{document['split']} split of {document['data_dir']}."
    )
    for one in judged:
        if one.inputs:
            told = " and ".join(title(name) for name in one.inputs)
            text += f" The model of {one.run_dir} is told the {told} beside the patterns."
    return [Paragraph(text), *(Paragraph(text, warning=True) for text in document["warnings"])]


def _headline(document: Mapping[str, Any], names: Sequence[str]) -> list[Block]:
    compared = len(names) == 2
    table = headline_table(document["scores"], names if compared else ("model",))
    text = (
        f"The baseline has seen the labels of {document['baselines_from']} and no pattern: it "
        "always answers the most frequent class, or the mean. F1 and balanced accuracy are means "
        "over the classes that occur, each counting alike, over the whole split at once."
    )
    if document["bootstrap"]["resamples"]:
        text += (
            f" Intervals hold 95 % of {document['bootstrap']['resamples']:,} scores, each of as "
            "many materials drawn anew with replacement, all samples of a material together."
        )
    if compared:
        text += (
            f" A difference is {names[0]} minus {names[1]}, of shares in percentage points; both "
            "are judged on the same drawn materials, so an interval that does not hold 0 tells the "
            "runs apart."
        )
    if not compared and len(table.header) > 6:
        text += (
            " By material, one joint answer to all its samples counts: the mean of their "
            "log-probabilities, or of their numbers."
        )
    return [table, Paragraph(text)]


def _space_groups(
    documents: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, "Figure"],
    other: Sequence[str],
) -> list[Block]:
    pictures = [_picture(figures, name) for name in (COARSER[0], SPACE_GROUP)]
    drawn = [Gallery(tuple(picture for picture in pictures if picture))]
    if SPACE_GROUP not in documents:
        return [Heading("Crystal systems"), *drawn] if drawn[0].pictures else []
    scores = documents[SPACE_GROUP]
    # The other run has its place in these only if it answers space groups too.
    compared = other[0] if other and "other" in scores["top1"] else ""
    systems, points = (detail_tables.part_table(scores, key, compared) for key in COARSER)
    every = detail_tables.class_table(scores)
    text = (
        "A crystal system is answered by the probabilities of all its space groups together, so "
        "now and then it is wrong where the most probable space group is right."
    )
    return [Heading("Space groups"), systems, Paragraph(text), *drawn, points, every]


def _probabilities(
    document: Mapping[str, Any], names: Sequence[str], figures: Mapping[str, "Figure"]
) -> list[Block]:
    calibration, other = document["calibration"], document["compared_calibration"]
    if not calibration["targets"]:
        return []
    blocks = [
        Heading("Can the probabilities be believed?"),
        Paragraph(_calibration_text(calibration)),
        _picture(figures, "reliability"),
        detail_tables.calibration_table(calibration["targets"]),
    ]
    if other and other["targets"]:
        blocks.append(Paragraph(f"Those of {names[1]}, for comparison:"))
        blocks.append(detail_tables.calibration_table(other["targets"]))
    return blocks


def _calibration_text(calibration: Mapping[str, Any]) -> str:
    text = (
        "Of the answers that are given 70 %, 70 % should be right. Dots are the share that is, in "
        f"{BINS} equal intervals of the probability; 95 % of them would lie in the light band if "
        "the probabilities were exact, and those outside are red. The calibration error is the "
        "mean distance of dots from the diagonal, weighted by samples; by chance, exact "
        "probabilities would show the one beside it. "
    )
    if not calibration["fitted_on"]:
        return text + "There is no dev split to fit temperatures on."
    text += (
        f"A temperature T turns probabilities p into p^(1/T): it was fitted on "
        f"{calibration['fitted_on']}."
    )
    if calibration["cross_fitted"]:
        text += (
            " As this is the split that is judged, half of its materials are judged under the "
            "temperature of the other half; what is kept for predictions is fitted on all."
        )
    return text


def _quantities(
    documents: Mapping[str, Mapping[str, Any]], judged: Judged, figures: Mapping[str, "Figure"]
) -> list[Block]:
    blocks: list[Block] = []
    for key, scores in documents.items():
        if scores["kind"] == QUANTITY:
            task = judged.tasks[key]
            names = component_titles(task.target, task.labels.shape[1])
            blocks += [Heading(_heading(key)), detail_tables.quantity_table(scores, names)]
            blocks.append(_picture(figures, key))
    table = detail_tables.uncertainty_table(documents)
    if table:
        text = (
            "Predicted standard deviations should hold 68.3 % of the errors, twice as much 95.4 %; "
            "the lower the negative log-likelihood (nats a number), the better."
        )
        blocks += [Heading("Predicted uncertainties"), table, Paragraph(text)]
    return [block for block in blocks if block]


def _heading(key: str) -> str:
    """Returns a title with a capital, but d is a symbol."""
    text = title(key)
    return text if text.startswith("d-") else text.capitalize()


def _composition(
    documents: Mapping[str, Mapping[str, Any]], figures: Mapping[str, "Figure"]
) -> list[Block]:
    for key, scores in documents.items():
        if scores["kind"] == FRACTIONS:
            text = (
                "F1 of each element, and how many samples have it. An element counts as answered "
                f"when it is given more than {100 * scores['presence_threshold']:g} % of the atoms."
            )
            picture = _picture(figures, key)
            return [
                Heading("Composition"),
                Paragraph(text),
                *([picture] if picture else []),
                detail_tables.element_table(scores),
            ]
    return []


def _mistakes(judged: Sequence[Judged], other: Sequence[str]) -> list[Block]:
    compared = (other[0], judged[1].answers) if other else None
    pictures = mistake_pictures(judged[0].answers, compared)
    if not pictures:
        return [Heading("The worst mistakes"), Paragraph("There are none.")]
    has_classes = main_target(judged[0].answers.targets).kind == CLASSES
    text = "The most confident wrong answers" if has_classes else "The answers that are most off"
    text += (
        ", one of a material. Intensities to the power 1/4, each pattern scaled to its own "
        "maximum, under its zone axis"
    )
    text += "; probabilities as the model gives them." if has_classes else "."
    return [Heading("The worst mistakes"), Paragraph(text), Gallery(pictures)]


def _training(judged: Sequence[Judged], names: Sequence[str]) -> list[Block]:
    histories = {
        name: history
        for name, one in zip(names, judged, strict=True)
        if (history := read_history(one.run_dir))
    }
    if not any(map(charts.headline_names, histories.values())):
        return []
    chart = as_svg(charts.history_chart(histories))
    return [Heading("Training"), Picture(chart, "svg+xml", "losses and metrics by epoch")]


def _picture(figures: Mapping[str, "Figure"], name: str) -> Picture | None:
    if name not in figures:
        return None
    return Picture(as_svg(figures[name]), "svg+xml", f"chart of {name.replace('_', ' ')}")
