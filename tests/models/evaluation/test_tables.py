import pytest

from cbed_tf.inspection.document import as_text
from models.evaluation import detail_tables, tables


def score(model, baseline=0.0, **more):
    return {"model": model, "baseline": baseline, **more}


SPACE_GROUP = {
    "kind": "classes",
    "top1": score(1 / 3, 0.083, interval=[0.25, 0.5], other=0.25, difference=1 / 12,
                  difference_interval=[-0.01, 0.2]),
    "macro_f1": score(0.25),
    "per_crystal_system": {
        "cubic": {
            "samples": 1200,
            "materials": 120,
            "top1": score(0.5, interval=[0.25, 1.0], other=0.75),
            "recall": score(0.8),
        }
    },
    "per_class": {
        "194": {
            "samples": 8,
            "materials": 2,
            "precision": 0.5,
            "recall": 0.25,
            "f1": 1 / 3,
            "mistaken_for": {"186": 5, "62": 1},
        }
    },
}  # fmt: skip
LENGTHS = {
    "kind": "quantity",
    "unit": "angstrom",
    "mae": score(0.5, 1.25, interval=[0.4, 0.6]),
    "rmse": score(1.0, 2.0),
    "median_absolute_error": score(0.3, 0.9),
    **{
        name: {"a": score(0.25, 0.5), "b": score(0.125, 0.75)}
        for name in ("mae_by_component", "rmse_by_component", "median_by_component")
    },
}


def lines(table):
    return [line.split("  ") for line in as_text([table]).splitlines()]


def cells(table):
    return [tuple(str(cell) for cell in row) for row in table.rows]


def test_headline_of_a_run():
    table = tables.headline_table({"space_group": SPACE_GROUP, "abc_angstrom": LENGTHS})
    assert table.header == ("", "score", "model", "95 % interval", "baseline")
    assert cells(table) == [
        ("space group", "top-1", "33.3 %", "25.0 to 50.0 %", "8.3 %"),
        ("", "macro-F1", "0.250", "", "0.000"),
        ("lattice lengths", "mean abs. error (Å)", "0.500", "0.400 to 0.600", "1.25"),
    ]


def test_headline_of_two_runs():
    table = tables.headline_table(
        {"space_group": SPACE_GROUP, "abc_angstrom": LENGTHS}, ("ours", "theirs")
    )
    assert table.header[2:6] == ("ours", "theirs", "difference", "its 95 % interval")
    assert cells(table)[0][2:] == ("33.3 %", "25.0 %", "+8.3", "-1.0 to +20.0", "8.3 %")
    # A target that the other run does not answer.
    assert cells(table)[2][2:] == ("0.500", "", "", "", "1.25")


def test_joint_answers_have_columns_where_there_are_any():
    joint = {"per_material": {"top1": score(0.5, interval=[0.4, 0.7])}}
    table = tables.headline_table({"space_group": {**SPACE_GROUP, **joint}})
    assert table.header[5:] == ("by material", "95 % interval")
    assert cells(table)[0][5:] == ("50.0 %", "40.0 to 70.0 %")
    assert cells(table)[1][5:] == ("", "")


def test_what_space_groups_imply_is_shown_unless_it_is_answered_itself():
    implied = {"crystal_system_from_space_group": {"top1": score(0.5), "top5": score(1.0)}}
    shown = cells(tables.headline_table(implied))
    assert shown == [("crystal system", "top-1", "50.0 %", "", "0.0 %")]
    own = {"crystal_system": {"top1": score(0.75)}}
    assert cells(tables.headline_table({**implied, **own}))[0][2] == "75.0 %"
    assert len(cells(tables.headline_table({**implied, **own}))) == 1
    point = {"point_group_from_space_group": {"top1": score(0.1)}}
    mixed = cells(tables.headline_table({"space_group": SPACE_GROUP, **point, **implied, **own}))
    assert [row[0] for row in mixed] == ["space group", "", "crystal system", "point group"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(19.0, "19.0"), (1234.5, "1.23e+03"), (123.4, "123"), (0.69, "0.690"), (0.0, "0")],
)
def test_errors_have_three_digits(value, text):
    assert tables.number("mae", value) == text


def test_spans_and_signs():
    assert tables.span("mae", [-0.125, 1.0], tables.signed) == "-0.12 to +1.0"
    assert tables.span("macro_f1", [0.1, 0.25]) == "0.100 to 0.250"
    assert tables.span("top1", None) == ""
    assert tables.signed("macro_f1", -0.25) == "-0.250"


def test_metrics_of_a_log_have_names_for_people():
    assert tables.metric_title("space_group_top1") == "space group, top-1"
    assert tables.metric_title("abc_angstrom_mae") == "lattice lengths, mean abs. error"
    assert tables.metric_title("loss") == "loss"


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    assert tables.run_names(["a/x", "b/y"]) == ["x", "y"]
    assert tables.run_names(["a/x", "b/x"]) == ["a/x", "b/x"]
    assert tables.run_names(["a/x", None]) == ["x"]


def test_summary_is_short():
    reliability = {"ece": 0.125, "ece_by_chance": 0.05, "nll": 1.0}
    document = {
        "split": "test",
        "samples": 1234,
        "materials": 120,
        "checkpoint": "best",
        "run_dir": "runs/x",
        "inputs": ["energy_keV"],
        "compared_with": None,
        "baselines_from": "train",
        "warnings": ["careful"],
        "scores": {"space_group": SPACE_GROUP},
        "calibration": {
            "targets": {
                "space_group": {"before": reliability, "after": {**reliability, "ece": 0.0625}},
                "crystal_system_from_space_group": {"before": reliability},
            }
        },
    }
    out = tables.summary(document).splitlines()
    assert out[0] == (
        "test: 1,234 samples of 120 materials; best model of runs/x, which is told energy_keV; "
        "baselines know the labels of train"
    )
    assert out[1] == "WARNING: careful"
    assert out[-1] == (
        "calibration error of the space group 12.5 %, under temperatures fitted on dev 6.2 % "
        "(by chance 5.0 %)"
    )
    assert len(out) == 6


def test_tables_of_parts_and_classes():
    table = detail_tables.part_table(SPACE_GROUP, "crystal_system")
    assert cells(table) == [("cubic", "1,200", "120", "80.0 %", "50.0 %", "25.0 to 100.0 %")]
    assert not table.folded
    beside = detail_tables.part_table(SPACE_GROUP, "crystal_system", "theirs")
    assert (beside.header[-1], cells(beside)[0][-1]) == ("of theirs", "75.0 %")
    (row,) = cells(detail_tables.class_table(SPACE_GROUP))
    assert row[:5] == ("194", "P 63/m m c", "hexagonal", "8", "2")
    assert row[5:] == ("50.0 %", "25.0 %", "0.333", "186 (5), 62 (1)")


def test_many_classes_are_folded():
    (entry,) = SPACE_GROUP["per_class"].values()
    many = {"per_class": {str(number): entry for number in range(1, 22)}}
    assert detail_tables.class_table(many).folded
    assert "Each of 21 space groups" in detail_tables.class_table(many).summary


def test_table_of_a_quantity():
    table = detail_tables.quantity_table(LENGTHS, ["a", "b"])
    assert cells(table)[0] == (
        "together", "0.500", "0.400 to 0.600", "1.25", "0.300", "0.900", "1.00", "2.00"
    )  # fmt: skip
    assert [row[:4] for row in cells(table)[1:]] == [
        ("a", "0.250", "", "0.500"),
        ("b", "0.125", "", "0.750"),
    ]
    assert len(cells(detail_tables.quantity_table(LENGTHS, ["a"]))) == 1


def test_table_of_uncertainties_only_where_there_are_any():
    assert detail_tables.uncertainty_table({"abc_angstrom": LENGTHS}) is None
    uncertainty = {
        "coverage_1_sigma": score(0.7, interval=[0.6, 0.8]),
        "coverage_2_sigma": score(0.9),
        "nll": score(1.5, 2.5),
    }
    table = detail_tables.uncertainty_table({"energy_keV": {"uncertainty": uncertainty}})
    assert table.header[1] == "within 1 σ (ideal 68.3 %)"
    assert table.header[3] == "within 2 σ (ideal 95.4 %)"
    assert cells(table) == [
        ("beam energy", "70.0 %", "60.0 to 80.0 %", "90.0 %", "", "1.500", "2.500")
    ]


def test_table_of_calibration():
    before = {"ece": 0.125, "ece_by_chance": 0.05, "nll": 1.0}
    after = {"ece": 0.0625, "ece_by_chance": 0.04, "nll": 0.5}
    plain = detail_tables.calibration_table({"space_group": {"before": before}})
    assert cells(plain) == [("space group", "12.5 %", "5.0 %", "1.000")]
    assert len(plain.header) == 4
    tempered = {"before": before, "after": after, "temperatures": [1.5, 1.25]}
    table = detail_tables.calibration_table({"space_group": tempered})
    assert cells(table)[0][4:] == ("1.50, 1.25", "6.2 %", "4.0 %", "0.500")
    assert len(table.header) == 8
