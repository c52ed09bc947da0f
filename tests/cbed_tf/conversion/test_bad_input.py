"""One test for each kind of bad input: refused by name and reason, all others arrive."""

import json

import h5py
import numpy as np
import pytest
from archives import write_archive, write_file, write_sample

from cbed_tf.__main__ import main
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.dataset.manifest import load_index, load_manifest

TRAIN = "batch_train_0.h5"
VICTIM = "sample_1_0"
# Of the archive fixture: materials 0 to 3 are in train, 4 and 5 in dev, 6 and 7 in test.
SPLIT_OF_MATERIAL = ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
IDS = {
    f"{split}/batch_{split}_0/sample_{material}_{energy}"
    for material, split in enumerate(SPLIT_OF_MATERIAL)
    for energy in (0, 1)
}


def set_attribute(name, value):
    def spoil(file):
        file[VICTIM].attrs[name] = value

    return spoil


def set_pixel(value):
    def spoil(file):
        file[VICTIM]["cbed_stack"][2, 3, 4] = value

    return spoil


def replace_stack(**options):
    def spoil(file):
        del file[VICTIM]["cbed_stack"]
        file[VICTIM].create_dataset("cbed_stack", **options)

    return spoil


def transpose_directions(file):
    file[VICTIM].attrs["z_dirs"] = file[VICTIM].attrs["z_dirs"].transpose(0, 2, 1)


def replace_group_by_dataset(file):
    del file[VICTIM]
    file[VICTIM] = [1.0]


KINDS = {
    "not a number": (set_pixel(np.nan), "1 pixel(s) that are not a number, the first at [2, 3, 4]"),
    "infinite": (set_pixel(np.inf), "1 pixel(s) that are infinite"),
    "negative": (set_pixel(-1.0), "1 pixel(s) that are negative, the first at [2, 3, 4]: -1.0"),
    "other shape": (
        replace_stack(data=np.ones((3, 24, 24), np.float32)),
        "cbed_stack has shape (3, 24, 24), most of the archive has (3, 24, 32)",
    ),
    "flat": (replace_stack(data=np.ones(9, np.float32)), "should be (views, height, width)"),
    "other dtype": (replace_stack(data=np.ones((3, 24, 32))), "holds float64, should be float32"),
    "never written": (replace_stack(shape=(3, 24, 32), dtype="f4"), "was never written"),
    "no patterns": (lambda file: file[VICTIM].__delitem__("cbed_stack"), "no dataset cbed_stack"),
    "no group": (replace_group_by_dataset, "the group cannot be opened"),
    "missing attribute": (
        lambda file: file[VICTIM].attrs.__delitem__("formula"),
        "attribute formula is missing",
    ),
    "malformed attribute": (
        set_attribute("abc_angstrom", "wide"),
        "attribute abc_angstrom is text, should be numbers",
    ),
    "attribute of another shape": (
        set_attribute("angles_degree", [90.0, 90.0]),
        "angles_degree has shape (2,), should be (3,)",
    ),
    "no space group": (
        set_attribute("space_group", np.bytes_("231")),
        "space_group is 231, should be 1 to 230",
    ),
    "no formula": (set_attribute("formula", "Zz4 O2"), "unknown element 'Zz'"),
    "transposed directions": (transpose_directions, "but cell and z_dirs give"),
    "wrong semi-angles": (
        set_attribute("semi_angles_rad", [0.01, 0.01, 0.01]),
        "but lambda(100 keV) / (4 d) give",
    ),
}


def convert(folder, output, *flags):
    words = [f"--input_dir={folder}", f"--output_dir={output}", "--workers=1", *flags]
    return main(["convert", *words])


def rejected(output):
    return [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]


def ids(output):
    return {
        sample_id.decode()
        for split in load_manifest(output).splits
        for sample_id in load_index(output, split, ["sample_id"])["sample_id"]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_sample_is_refused_and_the_others_arrive(tmp_path, archive, capsys, kind):
    spoil, reason = KINDS[kind]
    with h5py.File(archive / TRAIN, "r+") as file:
        spoil(file)

    assert convert(archive, tmp_path / "out") == 3

    victim_id = f"train/batch_train_0/{VICTIM}"
    (entry,) = rejected(tmp_path / "out")
    assert entry["sample_id"] == victim_id
    assert entry["file"] == TRAIN
    assert reason in entry["reason"]
    assert ids(tmp_path / "out") == IDS - {victim_id}
    assert "1 rejected (allowed: 0)" in capsys.readouterr().err


def test_as_many_as_allowed_give_exit_code_0(tmp_path, archive):
    with h5py.File(archive / TRAIN, "r+") as file:
        file["sample_0_0/cbed_stack"][0, 0, 0] = -1
        del file["sample_2_1"].attrs["formula"]

    assert convert(archive, tmp_path / "one", "--max_rejected=1") == 3
    assert convert(archive, tmp_path / "two", "--max_rejected=2") == 0
    assert len(rejected(tmp_path / "two")) == 2
    words = [f"--data_dir={tmp_path}/two", f"--input_dir={archive}", "--workers=1"]
    assert main(["verify", *words]) == 0  # the rejected ones are accounted for
    # The finished data set keeps its verdict.
    assert convert(archive, tmp_path / "two") == 3


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_refused(tmp_path, archive, share):
    path = archive / "batch_dev_0.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    assert convert(archive, tmp_path / "out") == 3

    (entry,) = rejected(tmp_path / "out")
    assert entry["sample_id"] == "dev/batch_dev_0"
    assert entry["file"] == "batch_dev_0.h5"
    assert "does not open as HDF5" in entry["reason"]
    manifest = load_manifest(tmp_path / "out")
    assert {name: split.samples for name, split in manifest.splits.items()} == {
        "train": 8, "test": 4,
    }  # fmt: skip


def test_a_file_without_a_split_in_its_name_is_refused(tmp_path, archive):
    write_file(archive / "more.h5", range(30, 32))
    (archive / "batch_train_8.h5").symlink_to("nowhere")

    assert convert(archive, tmp_path / "out") == 3
    by_file = {entry["file"]: entry["reason"] for entry in rejected(tmp_path / "out")}
    assert "should be batch_{train,dev,test}_{k}.h5" in by_file["more.h5"]
    assert "does not open" in by_file["batch_train_8.h5"]
    assert len(ids(tmp_path / "out")) == 16


def test_an_empty_file_of_samples_is_named(tmp_path, archive):
    h5py.File(archive / "batch_train_1.h5", "w").close()

    assert convert(archive, tmp_path / "out") == 3
    assert rejected(tmp_path / "out")[0]["reason"] == "it holds no sample"


def test_patterns_that_share_bytes_are_refused(tmp_path, archive):
    with h5py.File(archive / TRAIN) as file:
        own, other = (file[name]["cbed_stack"].id.get_offset() for name in (VICTIM, "sample_0_1"))
    content = (archive / TRAIN).read_bytes()
    own, wrong = (place.to_bytes(8, "little") for place in (own, other + 512))
    assert content.count(own) == 1
    (archive / TRAIN).write_bytes(content.replace(own, wrong))

    assert convert(archive, tmp_path / "out") == 3
    entries = rejected(tmp_path / "out")
    assert len(entries) == 2
    assert all("lies partly on that of another sample" in entry["reason"] for entry in entries)
    assert {entry["sample_id"].rpartition("/")[2] for entry in entries} == {VICTIM, "sample_0_1"}


def test_an_id_seen_twice_is_refused_the_second_time(tmp_path, archive):
    (archive / "train").mkdir()
    (archive / "train" / TRAIN).write_bytes((archive / TRAIN).read_bytes())

    assert convert(archive, tmp_path / "out") == 3
    entries = rejected(tmp_path / "out")
    assert len(entries) == 8
    assert all(entry["file"] == f"train/{TRAIN}" for entry in entries)
    assert all(f"occurs already in {TRAIN}" in entry["reason"] for entry in entries)
    assert len(ids(tmp_path / "out")) == 16


def test_a_sample_that_contradicts_its_material_is_refused(tmp_path):
    write_archive(tmp_path / "in")
    liar = {**synthetic_attributes(0), "space_group": 230}
    with h5py.File(tmp_path / "in" / TRAIN, "r+") as file:
        write_sample(file, "sample_0_7", liar, synthetic_stack(99))

    assert convert(tmp_path / "in", tmp_path / "out") == 3
    (entry,) = rejected(tmp_path / "out")
    assert entry["sample_id"].endswith("sample_0_7")
    assert "space_group is 230, other samples of material syn-00000 have 1" in entry["reason"]


def test_an_archive_of_nothing_but_bad_samples_is_an_error(tmp_path, capsys):
    path = write_file(tmp_path / "in" / TRAIN, range(2))
    with h5py.File(path, "r+") as file:
        for group in file.values():
            del group.attrs["formula"]

    assert convert(tmp_path / "in", tmp_path / "out") == 1
    messages = capsys.readouterr().err
    assert "no sample of the archive can be used, 2 refused" in messages
    assert messages.count("attribute formula is missing") == 2


def test_nothing_that_is_refused_disappears_from_a_smaller_image_size(tmp_path):
    folder = write_archive(tmp_path / "in", height=32, width=32)
    with h5py.File(folder / TRAIN, "r+") as file:
        file["sample_1_0/cbed_stack"][0, 0, 0] = np.nan  # would vanish in a sum of areas

    assert convert(folder, tmp_path / "out", "--image_size=8") == 3
    assert "not a number" in rejected(tmp_path / "out")[0]["reason"]
