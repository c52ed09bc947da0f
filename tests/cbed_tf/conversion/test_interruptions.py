"""Kills, Ctrl-C, full disks and second runs: the same command goes on, to the same bytes."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from archives import write_archive

from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.conversion.verify import verify_dataset
from cbed_tf.dataset.manifest import load_manifest

WORKERS = 2


def start_convert(archive, output, **options):
    words = [sys.executable, "-m", "cbed_tf", "convert", f"--input_dir={archive}"]
    words += [f"--output_dir={output}", "--shard_size_mb=1", f"--workers={WORKERS}"]
    return subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c, **options
    )


def heed_ctrl_c():
    """Tests in the background of a shell, which ignores Ctrl-C there, would hand that down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_convert(archive, output):
    process = start_convert(archive, output)
    _, messages = process.communicate(timeout=120)
    assert "Traceback" not in messages
    return process.returncode, messages


def checksums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def long_archive(tmp_path_factory):
    """Gzipped patterns that take about two seconds to convert, into 12 shards."""
    folder = tmp_path_factory.mktemp("long")
    return write_archive(
        folder, train=8, dev=2, test=2, height=512, width=512,
        chunks=(1, 512, 512), compression="gzip",
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, long_archive):
    """What an undisturbed conversion of it gives."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    convert_archive(long_archive, folder, ConvertOptions(1), workers=WORKERS)
    return checksums(folder)


def wait_for_shards(output, count):
    deadline = time.monotonic() + 30
    while len(list(output.glob("*.tfrecord"))) < count and time.monotonic() < deadline:
        time.sleep(0.01)


# ---- kill -9


@pytest.mark.parametrize("shards_before", [0, 1, 6])
def test_a_killed_run_is_completed_to_the_same_bytes(
    tmp_path, long_archive, undisturbed, shards_before
):
    process = start_convert(long_archive, tmp_path / "out")
    time.sleep(0.5)  # into the scan
    wait_for_shards(tmp_path / "out", shards_before)
    process.kill()
    process.communicate()
    done = {path.name for path in (tmp_path / "out").glob("*.tfrecord")}
    changed = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done}
    assert len(done) >= shards_before
    assert not (tmp_path / "out" / "dataset.json").exists()
    time.sleep(0.5)  # workers notice that their parent died

    convert_archive(long_archive, tmp_path / "out", ConvertOptions(1), workers=WORKERS)

    assert checksums(tmp_path / "out") == undisturbed
    for name in done:  # finished shards were not written again
        assert (tmp_path / "out" / name).stat().st_mtime_ns == changed[name]


class ShardWatch:
    """Notes every shard that is begun in a folder, by the hidden name that it is written under."""

    def __init__(self, output):
        self.begun = set()
        self._output = output
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.002):
            if self._output.exists():
                names = os.listdir(self._output)
                self.begun |= {name for name in names if ".tfrecord." in name}


def workers_of(pid):
    """The processes that write shards for a conversion."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if is_worker(child)]
    except OSError:  # it has just ended
        return []


def is_worker(pid):
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.slow
def test_thirty_kills_of_the_run_or_a_worker_cost_no_more_than_the_shards_in_flight(
    tmp_path, long_archive, undisturbed
):
    dice, output = random.Random(0), tmp_path / "out"
    kills = {"run": 0, "worker": 0}
    starts = completions = redone = 0
    while sum(kills.values()) < 30:
        kills_before = sum(kills.values())
        with ShardWatch(output) as watch:
            returncode = None
            while returncode != 0:
                starts += 1
                process = start_convert(long_archive, output)
                kill_at_random(process, dice, kills)
                _, messages = process.communicate(timeout=120)
                returncode = process.returncode
                assert returncode in (0, -signal.SIGKILL), messages
        again = len(watch.begun) - len(list(output.glob("*.tfrecord")))
        assert again <= WORKERS * (sum(kills.values()) - kills_before)
        redone, completions = redone + again, completions + 1
        assert checksums(output) == undisturbed
        shutil.rmtree(output)
    print(f"kills: {kills}, starts: {starts}, completed: {completions}, shards redone: {redone}")
    assert min(kills.values()) >= 5


def kill_at_random(process, dice, kills):
    """Kills some process of a run every now and then, until it ends or there were 30 kills."""
    while process.poll() is None and sum(kills.values()) < 30:
        time.sleep(dice.uniform(0.2, 2.5))
        workers = workers_of(process.pid)
        victim = dice.choice([process.pid, *workers])
        if process.poll() is None:
            kills["worker" if victim in workers else "run"] += 1
            os.kill(victim, signal.SIGKILL)


# ---- Ctrl-C


@pytest.mark.parametrize("shards_before", [0, 1])
def test_ctrl_c_ends_soon_and_leaves_nothing_half_written(
    tmp_path, long_archive, undisturbed, shards_before
):
    process = start_convert(long_archive, tmp_path / "out", start_new_session=True)
    while not (tmp_path / "out" / ".convert").exists() and process.poll() is None:
        time.sleep(0.01)
    wait_for_shards(tmp_path / "out", shards_before)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all processes
    _, messages = process.communicate(timeout=20)

    assert time.monotonic() - start < 10
    assert process.returncode == 130
    assert messages.endswith("interrupted; the same command goes on where this one stopped\n")
    assert "Traceback" not in messages
    assert not list((tmp_path / "out").glob(".*.tmp"))
    assert run_convert(long_archive, tmp_path / "out")[0] == 0
    assert checksums(tmp_path / "out") == undisturbed


# ---- A full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, to be filled up; remount it to give it another size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def resize(disk, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_full_disk_is_said_and_the_run_completed_once_there_is_room(
    small_disk, long_archive, undisturbed
):
    output = small_disk / "out"
    returncode, messages = run_convert(long_archive, output)

    assert returncode == 1
    assert f"{output} is too full: 36.0MB to be written, 5.9" in messages
    assert f"{output} cannot be written: [Errno 28] No space left on device" in messages
    assert "B free). Once that is mended, the same command goes on" in messages
    assert not (output / "dataset.json").exists()
    assert not list(output.glob(".*.tmp"))
    for path in output.glob("*.tfrecord"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == undisturbed[path.name]
    assert run_convert(long_archive, output)[0] == 1  # still full
    resize(small_disk, "60m")
    assert run_convert(long_archive, output)[0] == 0
    assert checksums(output) == undisturbed


# Room for nothing, for the plan, for one shard, for all of them, for an index, for all but the
# manifest; with 220 kB the run completes.
@pytest.mark.parametrize("kilobytes", [4, 16, 60, 180, 190, 208])
def test_a_disk_that_is_full_at_any_stage_leaves_nothing_that_looks_finished(
    small_disk, tmp_path, archive, kilobytes
):
    undisturbed = tmp_path / "undisturbed"
    convert_archive(archive, undisturbed, ConvertOptions(1), workers=1)
    resize(small_disk, f"{kilobytes}k")
    output = small_disk / "out"
    returncode, messages = run_convert(archive, output)

    assert returncode == 1
    assert "cannot be written: [Errno 28] No space left on device" in messages
    assert not (output / "dataset.json").exists()
    resize(small_disk, "6m")
    assert run_convert(archive, output)[0] == 0
    assert load_manifest(output) == load_manifest(undisturbed)


def test_a_limit_on_file_sizes_is_said_like_a_full_disk(tmp_path, archive):
    program = (
        "import resource, signal, sys; from cbed_tf.__main__ import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
        f"sys.exit(main(['convert', '--input_dir={archive}', '--output_dir={tmp_path}/out']))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert process.returncode == 1
    assert "out cannot be written" in process.stderr
    assert "goes on where this one stopped" in process.stderr
    assert "Traceback" not in process.stderr
    assert not list((tmp_path / "out").glob("*train*"))
    assert convert_archive(archive, tmp_path / "out").splits["train"].samples == 8


def test_a_power_cut_between_two_names_is_survived(tmp_path, archive):
    # A shard whose name reached the disk, while its sidecar's did not.
    process = start_convert(archive, tmp_path / "out")
    wait_for_shards(tmp_path / "out", 1)
    process.kill()
    process.communicate()
    for sidecar in (tmp_path / "out" / ".convert").glob("*.tfrecord.json"):
        sidecar.unlink()

    convert_archive(archive, tmp_path / "out", ConvertOptions(1), workers=1)
    assert verify_dataset(tmp_path / "out", archive, workers=1).problems == ()


# ---- Two runs


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path, long_archive, undisturbed):
    output = tmp_path / "out"
    first = start_convert(long_archive, output)
    wait_for_shards(output, 1)
    first.send_signal(signal.SIGSTOP)  # or it would be done before the second has started
    returncode, messages = run_convert(long_archive, output)
    first.kill()
    first.communicate()

    assert returncode == 1
    assert f"another conversion is writing {output}; wait for it" in messages
    assert run_convert(long_archive, output)[0] == 0  # at once
    assert checksums(output) == undisturbed
