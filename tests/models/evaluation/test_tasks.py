import numpy as np
import pytest

from models.evaluation.answers import Answers
from models.evaluation.tasks import joint_tasks, sample_tasks
from pipelines import TARGETS

MATERIALS = np.array([b"b", b"a", b"b"])


def answers_to(*keys, materials=MATERIALS, **predicted):
    labels = {
        "space_group": np.array([61, 224, 61]),
        "crystal_system": np.array([2, 6, 2]),
        "energy_keV": np.array([[100.0], [110.0], [120.0]]),
        "abc_angstrom": np.array([[4.0, 5, 6], [1, 1, 1], [4, 5, 6]]),
    }
    targets = tuple(TARGETS[key] for key in keys)
    return Answers(targets, predicted, {key: labels[key] for key in keys}, {"material": materials})


def space_groups(*rows):
    answers = np.zeros((len(rows), 230))
    for row, chances in enumerate(rows):
        for number, chance in chances.items():
            answers[row, number - 1] = chance
    return answers


SPACE_GROUPS = space_groups({62: 0.8, 225: 0.2}, {225: 1.0}, {62: 0.1, 225: 0.5, 227: 0.4})


def test_samples_have_the_material_of_their_name_and_what_space_groups_imply():
    answers = answers_to("space_group", "energy_keV", space_group=SPACE_GROUPS, energy_keV=0)
    tasks = sample_tasks(answers)
    assert list(tasks) == [
        "space_group",
        "crystal_system_from_space_group",
        "point_group_from_space_group",
        "energy_keV",
    ]
    assert (answers.samples, answers.materials) == (3, 2)
    implied = tasks["crystal_system_from_space_group"]
    assert implied.groups.tolist() == [1, 0, 1]
    names = implied.target.class_names
    assert [names[label] for label in implied.labels] == ["orthorhombic", "cubic", "orthorhombic"]
    assert implied.answers[2, names.index("cubic")] == pytest.approx(0.9)


def test_predicted_deviations_belong_to_their_target():
    std = np.ones((3, 1))
    answers = answers_to("energy_keV", energy_keV=np.zeros((3, 1)), energy_keV_std=std)
    assert sample_tasks(answers)["energy_keV"].std is std


def test_joint_answers_to_materials_in_the_order_of_their_groups():
    """Of b: sqrt(0.8 * 0.1) of 62, sqrt(0.2 * 0.5) of 225 (227 is excluded by one sample)."""
    lengths = np.array([[3.0, 5, 6], [1, 1, 1], [4, 5, 8]])
    predicted = {"space_group": SPACE_GROUPS, "abc_angstrom": lengths}
    answers = answers_to("space_group", "abc_angstrom", **predicted)
    joint = joint_tasks(sample_tasks(answers))
    assert joint["space_group"].labels.tolist() == [224, 61]
    assert joint["space_group"].groups.tolist() == [0, 1]
    expected = np.sqrt([0.08, 0.10]) / np.sqrt([0.08, 0.10]).sum()
    np.testing.assert_allclose(joint["space_group"].answers[1, [61, 224]], expected)
    system = joint["crystal_system_from_space_group"]
    assert system.answers[1].max() == pytest.approx(expected[1])
    assert joint["abc_angstrom"].answers.tolist() == [[1, 1, 1], [3.5, 5, 7]]
    assert joint["abc_angstrom"].labels.tolist() == [[1, 1, 1], [4, 5, 6]]


def test_what_differs_between_a_materials_samples_has_no_joint_answer():
    answers = answers_to("energy_keV", energy_keV=np.zeros((3, 1)))
    assert joint_tasks(sample_tasks(answers)) == {}


def test_joint_crystal_systems_are_those_of_the_joint_space_groups():
    own = np.tile(np.eye(7)[0], (3, 1))
    predicted = {"space_group": SPACE_GROUPS, "crystal_system": own}
    answers = answers_to("crystal_system", "space_group", **predicted)
    tasks = sample_tasks(answers)
    assert tasks["crystal_system"].answers is own
    joint = joint_tasks(tasks)
    assert joint["crystal_system"].answers[1].argmax() == 6
    alone = answers_to("crystal_system", crystal_system=own)
    assert joint_tasks(sample_tasks(alone))["crystal_system"].answers[1].argmax() == 0


def test_materials_of_one_sample_have_no_joint_answers():
    materials = np.array([b"a", b"b", b"c"])
    answers = answers_to("space_group", materials=materials, space_group=SPACE_GROUPS)
    assert joint_tasks(sample_tasks(answers)) == {}


def test_samples_without_a_label_are_not_judged():
    """The first of b has no space group, a no energy, nobody a composition."""
    labels = {
        "space_group": np.array([-1, 224, 61]),
        "energy_keV": np.array([[100.0], [np.nan], [120.0]]),
        "composition": np.zeros((3, 118)),
    }
    energies = np.array([[1.0], [2.0], [3.0]])
    predicted = {"space_group": SPACE_GROUPS, "energy_keV": energies, "energy_keV_std": energies}
    predicted["composition"] = np.ones((3, 118)) / 118
    targets = tuple(TARGETS[key] for key in labels)
    tasks = sample_tasks(Answers(targets, predicted, labels, {"material": MATERIALS}))
    assert list(tasks) == [
        "space_group",
        "crystal_system_from_space_group",
        "point_group_from_space_group",
        "energy_keV",
    ]
    assert tasks["space_group"].labels.tolist() == [224, 61]
    assert tasks["space_group"].groups.tolist() == [0, 1]
    np.testing.assert_array_equal(tasks["space_group"].answers, SPACE_GROUPS[1:])
    energy = tasks["energy_keV"]
    assert energy.groups.tolist() == [0, 0]  # without a, b is the only material
    assert energy.answers.tolist() == energy.std.tolist() == [[1], [3]]
