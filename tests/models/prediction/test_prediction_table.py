import numpy as np

from cbed_tf.crystal import point_group
from models.prediction.prediction_table import answer_columns, space_group_captions
from pipelines.targets import get_targets


def space_group_answers():
    """62 leads, the cubic 225 and 227 are more together."""
    answers = np.zeros((1, 230), np.float32)
    answers[0, [61, 224, 226]] = 0.4, 0.35, 0.25
    return answers


def test_space_groups_with_ranks_symbol_and_what_they_imply():
    columns = answer_columns(get_targets(["space_group"]), {"space_group": space_group_answers()})
    first = {name: values[0] for name, values in columns.items()}
    assert first == {
        "space_group": "62",
        "space_group_symbol": "P n m a",
        "space_group_1": "62",
        "space_group_1_probability": "0.4",
        "space_group_2": "225",
        "space_group_2_probability": "0.35",
        "space_group_3": "227",
        "space_group_3_probability": "0.25",
        "space_group_4": "1",
        "space_group_4_probability": "0",
        "space_group_5": "2",
        "space_group_5_probability": "0",
        "crystal_system": "cubic",
        "crystal_system_probability": "0.6",
        "point_group": point_group(225),
        "point_group_probability": "0.6",
    }


def test_a_crystal_system_of_its_own_is_not_replaced():
    system = np.array([[0.9, 0.1, 0, 0, 0, 0, 0]], np.float32)
    columns = answer_columns(
        get_targets(["space_group", "crystal_system"]),
        {"space_group": space_group_answers(), "crystal_system": system},
    )
    assert columns["crystal_system"] == ["triclinic"]
    assert columns["crystal_system_probability"] == ["0.9"]


def test_quantities_have_a_column_for_each_component():
    targets = get_targets(["energy_keV", "d_hkls_angstrom", "abc_angstrom", "composition"])
    composition = np.zeros((1, 118), np.float32)
    composition[0, [7, 25]] = 0.75, 0.25
    columns = answer_columns(
        targets,
        {
            "energy_keV": np.array([[120.5]]),
            "d_hkls_angstrom": np.array([[1.0, 2.5]]),
            "abc_angstrom": np.array([[3.0, 4.0, 5.0]]),
            "composition": composition,
        },
    )
    assert columns == {
        "energy_keV": ["120.5"],
        "d_hkls_angstrom_1": ["1"],
        "d_hkls_angstrom_2": ["2.5"],
        "abc_angstrom_a": ["3"],
        "abc_angstrom_b": ["4"],
        "abc_angstrom_c": ["5"],
        "composition": ["O 0.750 Fe 0.250"],
    }


def test_predicted_deviations_follow_their_quantity():
    columns = answer_columns(
        get_targets(["energy_keV", "abc_angstrom"]),
        {
            "energy_keV": np.array([[120.5]]),
            "energy_keV_std": np.array([[2.5]]),
            "abc_angstrom": np.array([[3.0, 4.0, 5.0]]),
            "abc_angstrom_std": np.array([[0.1, 0.2, 0.3]]),
        },
    )
    assert columns == {
        "energy_keV": ["120.5"],
        "energy_keV_std": ["2.5"],
        "abc_angstrom_a": ["3"],
        "abc_angstrom_b": ["4"],
        "abc_angstrom_c": ["5"],
        "abc_angstrom_a_std": ["0.1"],
        "abc_angstrom_b_std": ["0.2"],
        "abc_angstrom_c_std": ["0.3"],
    }


def test_captions_name_the_space_group_where_there_is_one():
    assert space_group_captions(["x/1"], {"space_group": space_group_answers()}) == [
        "x/1\n62 (40%)"
    ]
    assert space_group_captions(["x/1"], {"energy_keV": np.ones((1, 1))}) == ["x/1"]
