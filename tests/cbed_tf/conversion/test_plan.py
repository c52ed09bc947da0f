"""Order and cut of the samples; what is remembered; what counts as another conversion."""

import dataclasses

import numpy as np
import pytest

from cbed_tf.archive.files import SourceFile
from cbed_tf.archive.scan import Rejection, Scan
from cbed_tf.conversion import plan as planning
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.errors import CbedError


def scan_of(train=10, dev=3):
    names = [f"train/batch_train_0/sample_{k}" for k in range(train)]
    names += [f"dev/batch_dev_0/sample_{k}" for k in range(dev)]
    return Scan(
        files=(SourceFile("batch_train_0.h5", 1, 1), SourceFile("batch_dev_0.h5", 2, 2)),
        image_shape=(3, 512, 512),
        columns={
            "sample_id": np.array(names, dtype=bytes),
            "source_file": np.repeat(np.int32([0, 1]), [train, dev]),
        },
        rejected=(Rejection("train/batch_train_0/sample_99", "batch_train_0.h5", "why"),),
    )


def ids_by_shard(plan):
    return {
        shard.name: plan.scan.columns["sample_id"][shard.start : shard.stop].tolist()
        for shard in plan.shards
    }


def test_every_sample_is_in_one_shard_of_its_split():
    plan = planning.make_plan(scan_of(), ConvertOptions(shard_size_mb=10))

    shards = ids_by_shard(plan)
    assert [len(ids) for ids in shards.values()] == [2, 3, 2, 3, 3]
    assert next(iter(shards)) == "train-00000-of-00004.tfrecord"
    assert list(shards)[-1] == "dev-00000-of-00001.tfrecord"
    in_shards = [sample_id for ids in shards.values() for sample_id in ids]
    assert sorted(in_shards) == sorted(scan_of().columns["sample_id"].tolist())
    for name, ids in shards.items():
        assert all(sample_id.decode().startswith(name.split("-")[0]) for sample_id in ids)


def test_no_shard_is_larger_than_asked():
    plan = planning.make_plan(scan_of(train=100), ConvertOptions(shard_size_mb=16))

    assert max(len(ids) for ids in ids_by_shard(plan).values()) * 3 * 2**20 <= 16 * 2**20


def test_the_order_is_the_seeds_and_no_other_samples():
    order = ids_by_shard(planning.make_plan(scan_of(), ConvertOptions()))
    again = ids_by_shard(planning.make_plan(scan_of(), ConvertOptions()))
    other = ids_by_shard(planning.make_plan(scan_of(), ConvertOptions(seed=1)))
    fewer = ids_by_shard(planning.make_plan(scan_of(train=9), ConvertOptions()))

    train = "train-00000-of-00001.tfrecord"
    assert order == again
    assert order[train] != other[train] != sorted(other[train]) != order[train]
    assert fewer[train] == [name for name in order[train] if not name.endswith(b"sample_9")]


def test_a_plan_survives_its_file(tmp_path):
    plan = planning.make_plan(scan_of(), ConvertOptions(shard_size_mb=10, image_size=128))
    planning.save_plan(tmp_path, plan)

    found = planning.load_plan(tmp_path)

    assert found.options == plan.options
    assert found.shards == plan.shards
    assert found.stored_shape == (3, 128, 128)
    for field in ("files", "image_shape", "rejected"):
        assert getattr(found.scan, field) == getattr(plan.scan, field)
    for name, column in plan.scan.columns.items():
        np.testing.assert_array_equal(found.scan.columns[name], column)


def test_without_a_file_there_is_no_plan(tmp_path):
    assert planning.load_plan(tmp_path) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_size_mb": 0}, "shard_size_mb is 0, should be at least 1"),
        ({"image_size": 0}, "image_size is 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(CbedError, match=message):
        ConvertOptions(**options)


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 512, 512), 100), ((3, 24, 32), 8), ((3, 512, 512), 1024)]
)
def test_patterns_are_reduced_in_whole_square_blocks_only(shape, size):
    with pytest.raises(CbedError, match=f"image_size is {size}, should divide"):
        ConvertOptions(image_size=size).stored_shape(shape)


def test_differences_are_named():
    options = dataclasses.asdict(ConvertOptions())
    files = (SourceFile("a.h5", 1, 1), SourceFile("b.h5", 1, 1))

    def difference(new_options=options, new_files=files):
        return planning.find_difference(options, new_options, files, new_files)

    assert difference() is None
    assert difference({**options, "seed": 4}) == "--seed was 0, is now 4"
    assert difference(new_files=files[:1]) == "the archive no longer holds b.h5"
    assert "as well" in difference(new_files=(*files, SourceFile("c.h5", 1, 1)))
    assert "b.h5 has changed" in difference(new_files=(files[0], SourceFile("b.h5", 1, 2)))
