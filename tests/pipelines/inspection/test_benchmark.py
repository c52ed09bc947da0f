"""The benchmark measures every stage and draws the right conclusion; how fast they are is no test.

The command is tested in `tests/models/learning/test_training_step.py`, as it trains a model.
"""

import dataclasses

import pytest
import tensorflow as tf

from pipelines.inspection import benchmark, page_cache
from pipelines.inspection.benchmark import FIRST_LAYER, LIMIT, MODEL_STEP, TO_DEVICE, TRAINING
from pipelines.inspection.benchmark_chart import draw_speeds
from pipelines.inspection.benchmark_report import as_document, as_text, judge
from pipelines.inspection.benchmark_stages import (
    copy_to_device,
    read_at_limit,
    read_batches,
    read_dataset,
    repeat_step,
    scale_on_device,
    train,
)

READING = [LIMIT, "gather", "stream", "gather, scaled", "stream, scaled"]
DATA_SETS = pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])


@pytest.mark.parametrize("stage", ["limit", "gather", "stream"])
@DATA_SETS
def test_reading_stages_go_round_and_round_the_split(request, data, stage):
    folder = request.getfixturevalue(data)
    if stage == "limit":
        batches = read_at_limit(folder, "dev", 5)
    else:
        batches = read_dataset(folder, "dev", 5, stage, scaled=False)

    assert [next(batches) for _ in range(7)] == [5] * 7


@DATA_SETS
def test_device_stages_repeat_a_batch(request, data):
    folder = request.getfixturevalue(data)
    images, labels = next(read_batches(folder, "dev", 4, "gather"))
    trained = []

    def step(images, labels):
        trained.append(labels["space_group"].shape[0])

    for stage in (
        copy_to_device(images, 4, "/CPU:0"),
        scale_on_device(images, 4, "/CPU:0"),
        repeat_step(step, images, labels, 4, "/CPU:0"),
        train(step, read_batches(folder, "dev", 4, "stream"), 4),
    ):
        assert [next(stage) for _ in range(3)] == [4] * 3
    assert trained == [4] * 6


def test_speed_is_counted_after_the_start(monkeypatch):
    clock = iter([10.0, 10.5, 11.0, 12.0])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    stage = iter([100, 100, 4, 4, 4, 4])

    assert benchmark.speed_of(stage, 1.5, start_up=2) == 12 / 2.0


def test_every_stage_is_measured_in_every_round(sample_dataset):
    measured = benchmark.measure(
        sample_dataset, "train", 4, 2, 0.01, model="none at all", train_step=lambda *_: None
    )

    assert [stage.name for stage in measured.stages] == [
        *READING, *[TO_DEVICE] * measured.is_copied, FIRST_LAYER, MODEL_STEP, TRAINING,
    ]  # fmt: skip
    assert measured.is_copied == bool(tf.config.list_physical_devices("GPU"))
    for stage in measured.stages:
        median, slowest, fastest = stage.samples_per_second
        assert 0 < slowest <= median <= fastest
        assert len(stage.rounds) == 2
        assert stage.megabytes_per_second == pytest.approx(median * 3 * 128 * 128 * 4 / 1e6)
    assert measured.stage(LIMIT).ratio_to_limit == 1
    assert measured.first_pass_megabytes_per_second > 0


def test_a_split_beyond_the_memory_is_not_read_before(sample_dataset, monkeypatch):
    monkeypatch.setattr(page_cache, "available_bytes", lambda: 1000)

    measured = benchmark.measure(sample_dataset, "dev", 4, 1, 0.01)
    assert not measured.from_memory
    assert measured.first_pass_megabytes_per_second is None
    assert "more than the 0 GiB of memory" in as_text(measured, judge(measured))


def test_files_are_read_to_their_ends(tmp_path, caplog):
    caplog.set_level("INFO")
    for name, size in (("a", 20_000_000), ("b", 7)):
        (tmp_path / name).write_bytes(bytes(size))

    page_cache.read_files([tmp_path / "a", tmp_path / "b"], 20_000_007)
    assert "100 %" in caplog.text
    assert page_cache.available_bytes() > 2**20


def measurement(speeds, model="small", reader="gather", encoding="float32", from_memory=True):
    """Speeds by stage, in one round or several."""
    rounds = {
        name: found if isinstance(found, tuple) else (found,) for name, found in speeds.items()
    }
    stages = tuple(benchmark._summarise(name, rounds, 3.0) for name in rounds)
    return benchmark.Measurement(
        data_dir="shards",
        split="train",
        split_bytes=2**30,
        sample_bytes=3_000_000,
        encoding=encoding,
        memory_bytes=2**32 if from_memory else 2**29,
        from_memory=from_memory,
        first_pass_megabytes_per_second=500.0 if from_memory else None,
        batch_size=32,
        reader=reader,
        model=model,
        device="a device",
        is_copied=TO_DEVICE in speeds,
        stages=stages,
    )


SPEEDS = {LIMIT: 1000, "gather": 900, "stream": 300, "gather, scaled": 500, "stream, scaled": 200}


def test_a_slow_model_is_the_bottleneck():
    measured = measurement(
        {**SPEEDS, FIRST_LAYER: (400, 200), MODEL_STEP: (4, 8), TRAINING: (3, 7)}
        | {name: (speed, speed) for name, speed in SPEEDS.items()}
    )

    verdict = judge(measured)
    assert verdict.bottleneck == MODEL_STEP
    assert verdict.lost_to_reading == pytest.approx(1 - (3 / 4 + 7 / 8) / 2)
    assert verdict.first_layer == pytest.approx((4 / 400 + 8 / 200) / 2)
    assert verdict.advice[0].startswith("gather delivers 169 times what the model takes")
    assert "cores that both share" in verdict.advice[1]

    copied = dataclasses.replace(measured, is_copied=True)
    assert "load_dataset(device='/GPU:0')" in judge(copied).advice[1]


@pytest.mark.parametrize(
    ("changes", "options", "bottleneck", "advice"),
    [
        ({"gather": 700}, {}, "gather", "as fast as memory gives: --encoding=uint16"),
        (
            {"gather": 700},
            {"encoding": "uint16"},
            "gather",
            "as fast as memory gives: --image_size",
        ),
        ({"gather": 700}, {"from_memory": False}, "gather", "So does a faster disk"),
        ({"gather": 300}, {}, "gather", "gather reaches 0.30 of the read limit"),
        ({}, {"reader": "stream"}, "stream", "--reader=gather reads 3 times as fast as stream"),
        ({TO_DEVICE: 600}, {}, TO_DEVICE, "Copying to the device is slowest: --encoding=uint16"),
    ],
)
def test_a_slow_feed_is_the_bottleneck(changes, options, bottleneck, advice):
    speeds = {**SPEEDS, TO_DEVICE: 5000, FIRST_LAYER: 9000, MODEL_STEP: 800, TRAINING: 200}
    verdict = judge(measurement({**speeds, **changes}, **options))

    assert verdict.bottleneck == bottleneck
    assert verdict.lost_to_reading == 0.75
    assert advice in " ".join(verdict.advice)


def test_without_a_model_the_feed_is_judged():
    measured = measurement({**SPEEDS, FIRST_LAYER: 2000}, model="")
    verdict = judge(measured)

    assert verdict.bottleneck == "gather"
    assert verdict.lost_to_reading is None
    assert "Slowest in feeding a model with gather" in as_text(measured, verdict)
    assert as_document(measured, verdict)["lost_to_reading"] is None


@pytest.mark.parametrize("model", ["", "small"])
def test_the_figure_is_a_png(model):
    more = {MODEL_STEP: 4, TRAINING: 3} if model else {}
    measured = measurement({**SPEEDS, FIRST_LAYER: 2000, **more}, model=model)

    assert draw_speeds(measured, judge(measured)).startswith(b"\x89PNG")
