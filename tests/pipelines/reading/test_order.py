"""Orders, parts of hosts and positions, by row numbers and by what both readers yield."""

import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from archives import write_archive

from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.dataset.manifest import load_index
from cbed_tf.errors import CbedError
from pipelines import Position, load_dataset
from pipelines.reading.loading import READERS
from pipelines.reading.order import WINDOW_SAMPLES, BatchPlan, Hosts, SampleOrder


def orders(num_samples, batch_size=4, hosts=1, drop_remainder=False, **options):
    return [
        SampleOrder(
            num_samples,
            BatchPlan(num_samples, batch_size, drop_remainder, Hosts(hosts, index)),
            **options,
        )
        for index in range(hosts)
    ]


# ---- Rows


def test_every_epoch_is_another_permutation_that_its_number_tells():
    (order,) = orders(100, shuffle=True, seed=3)
    (again,) = orders(100, shuffle=True, seed=3)
    (other,) = orders(100, shuffle=True, seed=4)
    epochs = [order.rows(epoch).tolist() for epoch in (0, 1, 7)]

    assert again.rows(7).tolist() == epochs[2]
    assert all(sorted(rows) == list(range(100)) for rows in epochs)
    assert len({tuple(rows) for rows in (*epochs, other.rows(0).tolist(), range(100))}) == 5
    assert orders(100)[0].rows(5).tolist() == list(range(100))


@pytest.mark.parametrize("num_samples", [48, 49, 50, 57, 63])
@pytest.mark.parametrize("hosts", [1, 2, 3])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_hosts_share_an_epoch(num_samples, hosts, drop_remainder):
    parts = orders(num_samples, 4, hosts, drop_remainder, shuffle=True)
    epoch = [part.rows(2) for part in parts]
    sizes = [np.diff(part.batches.bounds) for part in parts]

    together = np.concatenate(epoch).tolist()
    lost = num_samples % (4 * hosts) if drop_remainder else 0
    assert len(set(together)) == len(together) == num_samples - lost
    assert len({len(batches) for batches in sizes}) == 1
    assert all(batches.min() >= 1 and batches.max() <= 4 for batches in sizes)
    assert max(map(len, epoch)) - min(map(len, epoch)) <= 1
    for part, batches in zip(parts, sizes, strict=True):
        assert [len(part.batch(2, step)) for step in range(len(batches))] == batches.tolist()


def test_a_step_sees_the_same_samples_on_one_host_as_on_many():
    (alone,) = orders(48, 12, shuffle=True)
    three = orders(48, 4, 3, shuffle=True)

    for step in range(4):
        together = np.concatenate([order.batch(1, step) for order in three])
        assert sorted(together) == sorted(alone.batch(1, step))


@pytest.mark.parametrize(("num_samples", "batch_size", "hosts"), [(1, 4, 2), (3, 1, 2)])
def test_too_few_samples_for_all_hosts_are_refused(num_samples, batch_size, hosts):
    with pytest.raises(CbedError, match=f"do not give {hosts} hosts"):
        orders(num_samples, batch_size, hosts)


def test_blocks_stay_together_within_a_window():
    (order,) = orders(4096, shuffle=True, shuffle_block=8)
    rows = order.rows(0)
    window = WINDOW_SAMPLES

    assert sorted(rows) == list(range(4096))
    for start in range(0, 4096, window):
        counts = Counter((rows[start : start + window] // 8).tolist())
        assert set(counts.values()) == {8}
    blocks = [row // 8 for row in rows]
    assert sum(a == b for a, b in itertools.pairwise(blocks)) < 4096 / 8


def test_windows_are_announced_once_each_in_the_order_of_the_disk():
    (order,) = orders(1000, 7, shuffle=True, shuffle_block=4)
    announced = [order.wanted_soon(0, step) for step in range(order.batches.steps)]

    for step, rows in enumerate(announced):
        assert (np.diff(rows) > 0).all()
        seen = np.concatenate(announced[: step + 1])
        assert set(order.batch(0, step).tolist()) <= set(seen.tolist())
    assert sorted(np.concatenate(announced)) == list(range(1000))


def test_balance_makes_rare_classes_frequent():
    classes = np.repeat([14, 62, 225], [800, 150, 50])

    def drawn(balance):
        (order,) = orders(1000, shuffle=True, classes=classes, balance=balance)
        return order.rows(0), Counter(classes[order.rows(0)].tolist())

    assert sorted(drawn(0)[0]) == list(range(1000))
    rows, counts = drawn(1)
    assert max(abs(count - 1000 / 3) for count in counts.values()) <= 1
    uses = np.bincount(rows, minlength=1000)
    for first, stop in ((0, 800), (800, 950), (950, 1000)):
        assert np.ptp(uses[first:stop]) <= 1  # nobody is favoured within a class
    shares = np.sqrt([800, 150, 50]) / np.sqrt([800, 150, 50]).sum()
    for name, share in zip((14, 62, 225), shares, strict=True):
        assert abs(drawn(0.5)[1][name] - 1000 * share) <= 1


def test_positions_count_on_across_epochs():
    assert Position(2, 3).after(0, 10) == Position(2, 3)
    assert Position(2, 3).after(7, 10) == Position(3, 0)
    assert Position(2, 3).after(28, 10) == Position(5, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed is -1, should be 0 to 4294967295"),
        ({"shuffle": True, "shuffle_block": -1}, "shuffle_block is -1, should be at least 0"),
        ({"shuffle": True, "balance": 1.5}, "balance is 1.5, should be 0 to 1"),
        ({"balance": 1.0}, "need shuffle=True"),
        ({"shuffle": True, "balance": 1.0, "shuffle_block": 8}, "exclude each other"),
        ({"shuffle": True, "balance": 1.0, "reader": "stream"}, "need reader='gather'"),
        ({"num_hosts": 0}, "num_hosts is 0"),
        ({"num_hosts": 2, "host_index": 2}, "host_index is 2, should be 0 to 1"),
        ({"start": Position(0, 12)}, "step is 12, should be below the 12 batches of an epoch"),
    ],
)
def test_wrong_arguments_are_refused(sample_dataset, options, message):
    with pytest.raises(CbedError, match=message):
        load_dataset(sample_dataset, "train", 4, **options)


def test_a_position_before_the_first_batch_is_refused():
    with pytest.raises(CbedError, match="step is -1, should be at least 0"):
        Position(0, -1)


# ---- What the readers yield


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory):
    """43 training samples in several shards."""
    folder = tmp_path_factory.mktemp("many_shards")
    archive = write_archive(folder / "in", train=43, dev=0, test=0, height=96, width=128)
    convert_archive(archive, folder / "out", ConvertOptions(shard_size_mb=1), workers=1)
    assert len(list((folder / "out").glob("train-*.tfrecord"))) > 4
    return folder / "out"


def ids(dataset, batches=None):
    taken = dataset if batches is None else dataset.take(batches)
    return [labels["sample_id"].numpy().tolist() for _, labels in taken]


def load_ids(folder, reader, **options):
    arguments = {"shuffle": True, "seed": 5, "reader": reader, "sample_ids": True}
    if reader == "stream":
        arguments["shuffle_buffer"] = 20
    return load_dataset(folder, "train", 4, **{**arguments, **options})


@pytest.mark.parametrize("reader", READERS)
def test_a_dataset_goes_on_where_another_one_stopped(many_shards, reader):
    per_epoch = 11
    undisturbed = ids(load_ids(many_shards, reader, start=Position()), 3 * per_epoch)

    for steps in (0, 5, 10, 11, 17):
        start = Position().after(steps, per_epoch)
        rest = ids(load_ids(many_shards, reader, start=start), 3 * per_epoch - steps)
        assert rest == undisturbed[steps:]
    by_epoch = load_ids(many_shards, reader)
    assert [batch for _ in range(3) for batch in ids(by_epoch)] == undisturbed


_RUN = """
import sys
from pipelines import Position, load_dataset
folder, reader, epoch, step = sys.argv[1:]
dataset = load_dataset(
    folder, "train", 4, shuffle=True, seed=5, reader=reader, sample_ids=True,
    start=Position(int(epoch), int(step)),
)
for _, labels in dataset:
    print(*[name.decode() for name in labels["sample_id"].numpy()], flush=True)
"""


@pytest.mark.parametrize("reader", READERS)
def test_a_killed_process_is_continued_in_the_middle_of_an_epoch(many_shards, reader):
    def read(start, batches):
        words = [sys.executable, "-c", _RUN, many_shards, reader, start.epoch, start.step]
        process = subprocess.Popen(
            [*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        lines = [process.stdout.readline().split() for _ in range(batches)]
        process.kill()
        process.communicate()
        return lines

    undisturbed = read(Position(), 25)
    assert read(Position(), 7) == undisturbed[:7]
    assert read(Position().after(7, 11), 18) == undisturbed[7:]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hosts", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_hosts_read_disjoint_parts_of_equal_length(many_shards, reader, hosts, shuffle):
    parts = [
        ids(load_ids(many_shards, reader, num_hosts=hosts, host_index=index, shuffle=shuffle))
        for index in range(hosts)
    ]
    together = [name for part in parts for batch in part for name in batch]

    assert len({len(part) for part in parts}) == 1
    assert sorted(together) == sorted(load_index(many_shards, "train", ["sample_id"])["sample_id"])
    # With two hosts the second has 21 samples, 5 full batches and one of one.
    sizes = [[len(batch) for batch in part] for part in parts]
    if hosts == 2:
        assert sizes == [[4, 4, 4, 4, 4, 2], [4, 4, 4, 4, 4, 1]]
    assert all(min(part) >= 1 for part in sizes)


@pytest.mark.parametrize("reader", READERS)
def test_no_host_is_left_without_a_last_batch(tmp_path, reader):
    archive = write_archive(tmp_path / "in", train=17, dev=0, test=0, height=96, width=128)
    convert_archive(archive, tmp_path / "out", ConvertOptions(shard_size_mb=1), workers=1)
    parts = [
        ids(load_ids(tmp_path / "out", reader, num_hosts=2, host_index=index)) for index in (0, 1)
    ]
    late = load_ids(tmp_path / "out", reader, num_hosts=2, host_index=1, start=Position(0, 2))

    assert [[len(batch) for batch in part] for part in parts] == [[4, 4, 1], [4, 3, 1]]
    assert ids(late, 1) == parts[1][2:]


@pytest.mark.parametrize("reader", READERS)
def test_the_order_does_not_depend_on_the_seed_of_the_program(many_shards, reader):
    orders_of_seeds = []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        orders_of_seeds.append(ids(load_ids(many_shards, reader)))
    assert orders_of_seeds[0] == orders_of_seeds[1]


def test_an_input_context_says_which_host_this_is(many_shards):
    def of_host(context):
        return load_ids(
            many_shards,
            "gather",
            num_hosts=context.num_input_pipelines,
            host_index=context.input_pipeline_id,
        )

    strategy = tf.distribute.MirroredStrategy(["/CPU:0"])
    distributed = strategy.distribute_datasets_from_function(of_host)
    assert ids(distributed) == ids(load_ids(many_shards, "gather"))


def test_batches_can_be_copied_to_a_device_ahead_of_time(many_shards):
    options = {"scaled": True, "drop_remainder": True}
    here = load_dataset(many_shards, "train", 4, **options)
    there = load_dataset(many_shards, "train", 4, device="/CPU:0", **options)

    for (images, labels), (copies, same) in zip(here, there, strict=True):
        np.testing.assert_array_equal(images, copies)
        np.testing.assert_array_equal(labels["space_group"], same["space_group"])


def test_balanced_batches_are_those_of_the_order(sample_dataset):
    columns = load_index(sample_dataset, "train", ["sample_id", "space_group"])
    dataset = load_ids(sample_dataset, "gather", balance=1.0)
    drawn = [name for batch in ids(dataset) for name in batch]
    group_of = dict(
        zip(columns["sample_id"].tolist(), columns["space_group"].tolist(), strict=True)
    )
    counts = Counter(group_of[name] for name in drawn)

    assert len(drawn) == 48
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == len(set(group_of.values()))
