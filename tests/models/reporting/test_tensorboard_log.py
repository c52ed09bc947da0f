import resource

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.reporting.tensorboard_log import DEV, TRAIN, TensorBoardLog

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
)


def read(folder):
    accumulator = EventAccumulator(str(folder)).Reload()
    return accumulator, accumulator.Tags()


def test_tensorboard_reads_what_was_flushed(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.add_scalars(TRAIN, 1, {"loss": 4.5, "rate": 0.25})
    log.add_scalars(TRAIN, 2, {"loss": 3.5})
    log.add_picture(DEV, 2, "confusion", PNG)
    assert not list(tmp_path.rglob("events*"))
    log.flush()
    log.add_scalars(TRAIN, 3, {"loss": 2.5})
    log.flush()
    log.add_scalars(TRAIN, 4, {"loss": 1.5})  # what a process that is killed did not save

    train, tags = read(tmp_path / TRAIN)
    assert set(tags["scalars"]) == {"loss", "rate"}
    assert [(e.step, e.value) for e in train.Scalars("loss")] == [(1, 4.5), (2, 3.5), (3, 2.5)]
    dev, tags = read(tmp_path / DEV)
    assert tags["images"] == ["confusion"]
    assert dev.Images("confusion")[0].encoded_image_string == PNG


def test_the_next_process_continues_the_curve(tmp_path):
    for step in (1, 2):
        log = TensorBoardLog(tmp_path)
        log.add_scalars(TRAIN, step, {"loss": 1.0 / step})
        log.flush()
    assert len(list(tmp_path.rglob("events*"))) == 2
    assert [e.step for e in read(tmp_path / TRAIN)[0].Scalars("loss")] == [1, 2]


def test_a_full_disk_leaves_whole_records_and_loses_none(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.add_scalars(TRAIN, 1, {"loss": 4.5})
    log.flush()
    (path,) = tmp_path.rglob("events*")
    whole = path.read_bytes()
    log.add_scalars(TRAIN, 2, {"loss": 3.5})

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, before[1]))  # half a record
    try:
        with pytest.raises(OSError, match="File too large"):
            log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == whole
    log.flush()
    assert [e.step for e in read(tmp_path / TRAIN)[0].Scalars("loss")] == [1, 2]
