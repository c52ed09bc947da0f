"""The web page and its parts, of answers that are made up."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from cbed_tf import crystal
from cbed_tf.dataset.manifest import Split, Statistics
from models.evaluation.answers import Answers
from models.evaluation.bootstrap import Bootstrap
from models.evaluation.calibrating import calibrate
from models.evaluation.gallery import mistake_documents, mistake_panels, mistake_pictures
from models.evaluation.judged import Judged, read_history
from models.evaluation.page import report_page
from models.evaluation.pictures import draw, save_pictures
from models.evaluation.results import metrics_document
from models.evaluation.tasks import sample_tasks
from models.evaluation.worst import Mistake
from pipelines import TARGETS

NUMBERS = np.array([62, 62, 225, 225, 14, 194])
MANIFEST = SimpleNamespace(
    splits={"train": Split(3, 3, (), {62: 2, 225: 1}), "dev": Split(6, 3, (), {62: 2})},
    overlaps={"materials": 2},
    statistics={
        "energy_keV": Statistics((145.0,), (10.0,)),
        "abc_angstrom": Statistics((4.0, 5.0, 6.0), (1.0, 1.0, 1.0)),
        "composition": Statistics((1 / 118,) * 118, (0.1,) * 118),
    },
)
COLUMNS = {
    "sample_id": np.array([f"dev/batch_dev_0/sample_<{k}>_0".encode() for k in range(6)]),
    "material": np.array([b"mp-1", b"mp-1", b"mp-2", b"mp-2", b"mp-3", b"mp-4"]),
    "formula": np.array([b"Fe2 O3"] * 6),
    "space_group": NUMBERS,
    "energy_keV": np.full(6, 120, np.float32),
    "z_dirs": np.tile(np.array([[1, 0, 0], [1, -1, 0], [1, 1, 1]], np.float32), (6, 1, 1)),
}


def answers_of(numbers, chance=0.75, *, with_mistakes=True):
    """Space groups, each with one probability and the rest on 1; energies 5 keV too high."""
    groups = np.zeros((6, 230), np.float32)
    groups[:, 0] = 1 - chance
    groups[np.arange(6), np.array(numbers) - 1] += chance
    fractions = np.zeros((6, 118), np.float32)
    fractions[:, 7] = 1
    predicted = {
        "space_group": groups,
        "energy_keV": np.full((6, 1), 125.0),
        "energy_keV_std": np.full((6, 1), 5.0),
        "abc_angstrom": np.tile([4.0, 5.0, 6.5], (6, 1)),
        "composition": fractions,
    }
    targets = tuple(
        TARGETS[key] for key in ("space_group", "energy_keV", "abc_angstrom", "composition")
    )
    labels = {
        "space_group": NUMBERS - 1,
        "energy_keV": COLUMNS["energy_keV"][:, None],
        "abc_angstrom": np.tile(np.float32([4, 5, 6]), (6, 1)),
        "composition": crystal.atomic_fractions(["Fe2 O3"] * 6),
    }
    stack = np.random.default_rng(0).random((3, 24, 32), np.float32)
    wrong = np.flatnonzero(np.array(numbers) != NUMBERS)
    mistakes = tuple(Mistake(int(row), chance, stack) for row in wrong if with_mistakes)
    return Answers(targets, predicted, labels, COLUMNS, mistakes)


def judged_of(run_dir, answers):
    tasks = sample_tasks(answers)
    return Judged(
        run_dir=str(run_dir),
        checkpoint="best",
        weights=1234,
        inputs=("energy_keV",),
        answers=answers,
        tasks=tasks,
        calibrated=calibrate(tasks, {"space_group": 1.5}, is_dev=True),
        temperatures={"space_group": 1.5},
    )


@pytest.fixture
def ours(tmp_path):
    folder = tmp_path / "a<b>"
    folder.mkdir()
    lines = ["epoch,loss,space_group_top1,note", "1,2.0,0.5,x", "2,1.0,0.75,y"]
    (folder / "log.csv").write_text("\n".join(lines))
    return judged_of(folder, answers_of([62, 62, 225, 62, 14, 186]))


def page_of(*judged, resamples=20):
    bootstrap = Bootstrap(resamples)
    document = metrics_document(list(judged), "data", MANIFEST, "dev", bootstrap)
    return report_page(document, list(judged), draw(judged[0])), document


def text_of(page):
    return re.sub(r"<[^>]*>", "", page)


def test_page_tells_everything_and_needs_nothing_beside_it(ours):
    page, document = page_of(ours)
    assert document["warnings"][0].startswith("2 material(s) occur in more than one split")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Space groups",
        "Can the probabilities be believed?",
        "Beam energy",
        "Lattice lengths",
        "Predicted uncertainties",
        "Composition",
        "The worst mistakes",
        "Training",
    ]
    text = text_of(page)
    assert "66.7 % of the space groups are right" in text
    assert "is told the beam energy beside the patterns" in text
    assert "a&lt;b&gt;" in page
    assert "a<b>" not in page
    assert "half of its materials are judged under the temperature of the other half" in text
    assert not re.search(r'(src|href)="(?!data:)', page)
    # Charts of reliability, two confusions, two quantities, elements and training; two patterns.
    assert len(re.findall("data:image/svg", page)) == 7
    assert len(re.findall("data:image/png", page)) == 2


def test_page_of_two_runs_names_the_other_everywhere(ours, tmp_path):
    theirs = judged_of(tmp_path / "theirs", answers_of([62] * 6, with_mistakes=False))
    page, document = page_of(ours, theirs)
    text = text_of(page)
    assert "theirs: 33.3 %" in text
    assert "of theirs" in text
    assert "Those of theirs, for comparison" in text
    assert "theirs: P n m a (No. 62), orthorhombic – given 75.0 %" in text.replace("\u2009", " ")
    assert document["compared_with"] == str(tmp_path / "theirs")
    for calibration in (document["calibration"], document["compared_calibration"]):
        assert "crystal_system_from_space_group" in calibration["targets"]


def test_mistakes_say_what_is_true_and_what_was_answered(ours):
    first, second = mistake_documents(ours.answers)
    assert (first["true"], first["answer"]) == ("225", "62")
    assert first["probability"] == pytest.approx(0.75)
    assert first["probability_of_true"] == 0
    assert first["material"] == "mp-2"
    assert second["space_group"] == 194
    pictures = mistake_pictures(ours.answers)
    lines = ["".join(map(str, line)) for line in pictures[0].caption]
    assert lines == [
        "true: F m -3 m (No. 225), cubic – given less than 0.1 %",
        "answered: P n m a (No. 62), orthorhombic – given 75.0 %",
        "Fe2 O3  ·  mp-2  ·  120 keV",
    ]
    assert mistake_panels(ours.answers)[0].notes == ("answered 62 (75%)",)


def test_without_classes_the_largest_errors_are_shown(ours):
    energies = Answers(
        (TARGETS["energy_keV"],),
        {"energy_keV": ours.answers.predicted["energy_keV"]},
        {"energy_keV": ours.answers.labels["energy_keV"]},
        COLUMNS,
        (Mistake(2, 0.5, ours.answers.mistakes[0].stack),),
    )
    lines = mistake_pictures(energies)[0].caption
    assert ["".join(map(str, line)) for line in lines[:2]] == ["true: 120 keV", "answered: 125 keV"]
    page, _ = page_of(judged_of(ours.run_dir, energies))
    assert "Can the probabilities be believed?" not in page
    assert "Space groups" not in page


def test_page_without_mistakes_log_or_intervals(tmp_path):
    judged = judged_of(tmp_path, answers_of(NUMBERS))
    page, _ = page_of(judged, resamples=0)
    assert "There are none." in page
    assert "Training" not in page
    assert "Intervals hold" not in page


def test_samples_without_labels_are_named_and_drawn_where_they_can_be(tmp_path, monkeypatch):
    """Of mp-4, which has no space group, and of one sample of mp-1, which has no energy."""
    answers = answers_of([62, 62, 225, 62, 14, 186])
    labels = {key: label.copy() for key, label in answers.labels.items()}
    labels["space_group"][5], labels["energy_keV"][0] = -1, np.nan
    columns = {**COLUMNS, "space_group": np.array([62, 62, 225, 225, 14, 0])}
    mistakes = answers.mistakes[:1]
    answers = dataclasses.replace(answers, labels=labels, columns=columns, mistakes=mistakes)
    page, document = page_of(judged_of(tmp_path, answers))
    assert document["warnings"][1:] == [
        "1 of 6 samples have no label of space_group: its scores are of the others.",
        "1 of 6 samples have no label of energy_keV: its scores are of the others.",
    ]
    scores = document["scores"]
    assert scores["space_group"]["top1"]["model"] == 4 / 5
    assert scores["space_group"]["classes_present"] == 3
    assert scores["energy_keV"]["mae"]["model"] == 5
    assert scores["energy_keV"]["mae"]["interval"] == [5, 5]
    assert "nan" not in text_of(page).lower().split()


def test_mistakes_about_numbers_are_not_called_confident(tmp_path):
    answers = answers_of([62, 62, 225, 62, 14, 186])
    targets = (TARGETS["energy_keV"],)
    keys = ("energy_keV", "energy_keV_std")
    answers = dataclasses.replace(
        answers,
        targets=targets,
        predicted={key: answers.predicted[key] for key in keys},
        labels={"energy_keV": answers.labels["energy_keV"]},
    )
    page, _ = page_of(judged_of(tmp_path, answers))
    assert "The answers that are most off, one of a material." in page
    assert "confident" not in page
    assert "probabilities as the model gives them" not in page


def test_pictures_are_saved(ours, tmp_path):
    (tmp_path / "figures").mkdir()
    for name in ("point_group.png", "angles_degree.png", "notes.png"):
        (tmp_path / "figures" / name).write_text("of an earlier evaluation")
    save_pictures(tmp_path / "figures", draw(ours), ours)
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {
        "reliability.png",
        "crystal_system.png",
        "space_group.png",
        "energy_keV.png",
        "abc_angstrom.png",
        "composition.png",
        "mistakes.png",
        "notes.png",
    }
    right = judged_of(tmp_path, answers_of(NUMBERS))
    save_pictures(tmp_path / "figures", draw(right), right)
    assert not (tmp_path / "figures" / "mistakes.png").exists()


def test_history_is_what_is_a_number_in_every_epoch(ours, tmp_path):
    assert read_history(ours.run_dir) == {"loss": [2.0, 1.0], "space_group_top1": [0.5, 0.75]}
    assert read_history(tmp_path) == {}
    (tmp_path / "log.csv").write_text("epoch,loss\n")
    assert read_history(tmp_path) == {}
