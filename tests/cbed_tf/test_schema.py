"""The table of fields, and that the documentation and the manifest agree with it."""

import json
import re
from pathlib import Path

import cbed_tf
from cbed_tf import schema

ROOT = Path(cbed_tf.__file__).parents[1]


def test_names_are_unique_and_dtypes_known():
    assert len(schema.FIELD) == len((*schema.FIELDS, schema.PATTERN_MAX))
    assert {field.dtype for field in schema.FIELDS} == {"bytes", "int64", "float32"}


def test_shapes_follow_the_number_of_views():
    assert schema.FIELD["z_dirs"].shape_for(5) == (5, 3)
    assert schema.FIELD["abc_angstrom"].shape_for(5) == (3,)
    assert schema.FIELD["space_group"].shape_for(5) == ()


def test_quantities_in_a_name_carry_their_unit():
    for field in schema.FIELDS:
        unit = re.search(r"_(keV|rad|angstrom|degree)$", field.name)
        assert field.unit == (unit[1] if unit else "")


def test_the_manifest_describes_every_feature(sample_dataset):
    features = json.loads((sample_dataset / "dataset.json").read_text())["features"]

    assert list(features) == [field.name for field in schema.FIELDS]
    for field in schema.FIELDS:
        assert features[field.name]["dtype"] == field.dtype
        assert features[field.name]["unit"] == field.unit


def test_build_md_lists_every_feature():
    text = (ROOT / "BUILD.md").read_text()

    for name in [*schema.FIELD, schema.IMAGE]:
        assert f"`{name}`" in text
