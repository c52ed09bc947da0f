import numpy as np
import pytest

from models.networks.probabilities import joint_probabilities
from models.prediction.joint_answers import JointAnswers


def answers_of(samples, seed=0):
    random = np.random.default_rng(seed)
    return {
        "space_group": random.dirichlet(np.full(230, 0.05), samples).astype(np.float32),
        "crystal_system": random.dirichlet(np.ones(7), samples).astype(np.float32),
        "energy_keV": random.uniform(100, 190, (samples, 1)).astype(np.float32),
        "energy_keV_std": np.ones((samples, 1), np.float32),
        "abc_angstrom": random.uniform(3, 9, (samples, 3)).astype(np.float32),
        "composition": random.dirichlet(np.ones(118), samples).astype(np.float32),
    }


def collect(answers, materials, batch_size):
    joint = JointAnswers({key: values.shape[1] for key, values in answers.items()})
    for start in range(0, len(materials), batch_size):
        batch = slice(start, start + batch_size)
        joint.add(materials[batch], {key: values[batch] for key, values in answers.items()})
    return joint


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_any_order_and_batches_give_what_all_samples_at_once_do(batch_size):
    materials = ["b", "a", "b", "c", "a", "b", "b"]
    groups = np.array([0, 1, 0, 2, 1, 0, 0])
    answers = answers_of(7)
    joint = collect(answers, materials, batch_size)
    (rows,) = joint
    assert len(joint) == 3
    assert rows.materials == ["b", "a", "c"]
    assert rows.samples == [4, 2, 1]
    expected = joint_probabilities(answers["space_group"], groups)
    np.testing.assert_allclose(rows.answers["space_group"], expected, rtol=1e-5, atol=1e-12)
    for key in ("energy_keV", "abc_angstrom", "composition"):
        for row in range(3):
            values = answers[key][groups == row].astype(np.float64)
            np.testing.assert_allclose(rows.answers[key][row], values.mean(axis=0), rtol=1e-12)
            if key != "composition":
                spread = values.std(axis=0)
                np.testing.assert_allclose(rows.spreads[key][row], spread, rtol=1e-6, atol=1e-6)
    assert rows.spreads.keys() == {"energy_keV", "abc_angstrom"}
    np.testing.assert_array_equal(rows.spreads["abc_angstrom"][2], 0)


def test_coarser_classes_follow_the_joint_space_group_where_there_is_one():
    answers = answers_of(2)
    assert [target.key for target in collect(answers, ["a", "a"], 2).targets] == [
        "space_group",
        "energy_keV",
        "abc_angstrom",
        "composition",
    ]
    del answers["space_group"]
    (rows,) = collect(answers, ["a", "a"], 2)
    expected = np.sqrt(answers["crystal_system"].prod(axis=0, dtype=np.float64))
    np.testing.assert_allclose(rows.answers["crystal_system"][0], expected / expected.sum())


def test_a_probability_of_zero_excludes_a_class_and_not_the_material():
    answers = {"crystal_system": np.array([[1, 0, 0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0, 0]], "f4")}
    (rows,) = collect(answers, ["a", "a"], 2)
    assert rows.answers["crystal_system"][0].argmax() == 0
    assert rows.answers["crystal_system"][0].sum() == pytest.approx(1)


def test_without_samples_there_are_columns_and_no_rows():
    (rows,) = JointAnswers({"energy_keV": 1, "space_group": 230})
    assert rows.materials == []
    assert rows.answers["space_group"].shape == (0, 230)


def test_rows_come_in_portions(monkeypatch):
    monkeypatch.setattr("models.prediction.joint_answers._ROWS_AT_ONCE", 2)
    answers = {"energy_keV": np.arange(5.0)[:, None]}
    portions = list(collect(answers, list("abcde"), 5))
    assert [rows.materials for rows in portions] == [["a", "b"], ["c", "d"], ["e"]]
    assert portions[2].answers["energy_keV"].tolist() == [[4.0]]
