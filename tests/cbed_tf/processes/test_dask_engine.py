"""A Dask cluster writes what local processes write, whatever happens to it on the way."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import pytest
from archives import write_archive

import cbed_tf
from cbed_tf.__main__ import main
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.errors import CbedError
from cbed_tf.processes import dask_cluster, dask_engine, engine
from cbed_tf.processes.progress import Progress


def checksums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def wait_until(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_shards(output, count):
    return len(list(output.glob("*.tfrecord"))) >= count


@pytest.fixture(scope="module")
def run_tasks():
    """Two workers of a local cluster, soon convinced that a task kills them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_cluster, "_DEATHS_FORGIVEN", 0)
        with dask_engine.connect(workers=2) as run_tasks:
            yield run_tasks


@pytest.fixture(scope="module")
def long_archive(tmp_path_factory):
    """Gzipped patterns that take about two seconds to convert, into 12 shards."""
    return write_archive(
        tmp_path_factory.mktemp("long"), train=8, dev=2, test=2, height=512, width=512,
        chunks=(1, 512, 512), compression="gzip",
    )  # fmt: skip


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory, long_archive):
    """What one local process makes of it."""
    folder = tmp_path_factory.mktemp("one") / "out"
    convert_archive(long_archive, folder, ConvertOptions(1), workers=1)
    return checksums(folder)


# ---- Tasks


def square(number):
    engine.advance(1)
    return number * number


def worker_pid(_):
    time.sleep(0.1)  # so that both workers get some
    return os.getpid()


def pids_of_both(run_tasks):
    """Waits for workers that are being started again."""
    pids = set()
    while len(pids) < 2:
        pids = {pid for _, pid in run_tasks(worker_pid, range(4), 2)}
    return pids


def die_on_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def compute_for_ever(_):
    assert signal.getitimer(signal.ITIMER_PROF)[0] > 1  # armed already; ten seconds are too long
    engine.limit_step(0.1)
    while True:
        pass


def refuse(number):
    raise OSError(f"no {number}")


def work_long(path):
    try:
        for _ in range(600):
            open(path, "w").close()
            time.sleep(0.05)
            engine.advance(1)
    finally:
        os.remove(path)


def test_every_task_is_done_once(run_tasks):
    with Progress("squares", 30, "tasks") as progress:
        results = list(run_tasks(square, range(30), 2, progress))

    assert sorted(results) == [(number, number * number) for number in range(30)]
    assert progress.done == 30


def test_few_tasks_are_with_the_scheduler_at_a_time(run_tasks):
    class Watched(list):
        seen = 0

        def __getitem__(self, position):
            self.seen = max(self.seen, position + 1)
            return super().__getitem__(position)

    tasks = Watched(range(100))
    results = run_tasks(square, tasks, 2)

    next(results)
    assert tasks.seen <= 4 * 2 + 1
    results.close()
    assert tasks.seen <= 4 * 2 + 1


def test_a_task_that_computes_without_a_sign_of_life_is_ended(run_tasks):
    ((_, result),) = run_tasks(compute_for_ever, [0], 2)

    assert isinstance(result, engine.Crashed)


def test_a_task_that_kills_workers_is_named_and_the_others_are_done(run_tasks):
    results = dict(run_tasks(die_on_three, range(8), 2))

    assert isinstance(results.pop(3), engine.Crashed)
    assert results == {number: number for number in range(8) if number != 3}


def test_what_a_task_raises_is_raised_as_it_is(run_tasks):
    with pytest.raises(OSError, match="no 0"):
        list(run_tasks(refuse, [0], 2))


def test_giving_up_ends_tasks_within_a_step(run_tasks, tmp_path):
    pids_of_both(run_tasks)
    paths = [str(tmp_path / name) for name in "ab"]

    def give_up():
        wait_until(lambda: all(map(os.path.exists, paths)))
        raise KeyboardInterrupt

    class Tasks(list):
        def __getitem__(self, position):  # the third is asked for when the first two run
            return super().__getitem__(position) if position < 2 else give_up()

    with pytest.raises(KeyboardInterrupt):
        list(run_tasks(work_long, Tasks([*paths, ""]), 2))
    wait_until(lambda: not any(map(os.path.exists, paths)))


def test_workers_that_dask_gives_up_on_are_replaced(monkeypatch):
    monkeypatch.setattr(dask_engine, "_SECONDS_BETWEEN_LOOKS", 0.2)
    # Old workers come back while new ones start, and some of either end in that.
    monkeypatch.setattr(dask_cluster, "_DEATHS_FORGIVEN", 100)
    with (
        dask_engine.connect(workers=2) as run_tasks,
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 ms"}),
    ):
        for pid in pids_of_both(run_tasks):
            os.kill(pid, signal.SIGKILL)
        results = dict(run_tasks(square, range(4), 2))

    assert results == {0: 0, 1: 1, 2: 4, 3: 9}


# ---- Conversions


def test_the_bytes_are_those_of_local_processes(tmp_path, long_archive, by_one_process, run_tasks):
    convert_archive(long_archive, tmp_path / "two", ConvertOptions(1), workers=2)
    convert_archive(long_archive, tmp_path / "dask", ConvertOptions(1), run_tasks=run_tasks)

    assert len(by_one_process) == 12 + 6  # shards, indices, manifest, checksums, rejected.jsonl
    assert checksums(tmp_path / "two") == by_one_process
    assert checksums(tmp_path / "dask") == by_one_process


def test_a_worker_is_killed_on_the_way(tmp_path, long_archive, by_one_process, run_tasks):
    pid, _ = pids_of_both(run_tasks)

    def kill_one():
        wait_until(lambda: list(tmp_path.glob("out/.train*.tmp")))
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    convert_archive(long_archive, tmp_path / "out", ConvertOptions(1), run_tasks=run_tasks)
    killer.join()

    assert pid not in pids_of_both(run_tasks)
    assert checksums(tmp_path / "out") == by_one_process


@pytest.mark.parametrize("step", ["scan_file", "write_shard"])
def test_a_machine_without_the_archive_stops_the_run(tmp_path, archive, run_tasks, step):
    def move_away(function, tasks, *rest):
        if function.__name__ == step:
            archive.rename(tmp_path / "elsewhere")
        return run_tasks(function, tasks, *rest)

    with pytest.raises(CbedError, match=r"there is no folder .*archive on .*same paths"):
        convert_archive(archive, tmp_path / "out", run_tasks=move_away)
    assert not (tmp_path / "out" / "dataset.json").exists()


# ---- A scheduler and workers of their own


def start_dask(*words):
    words = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(Path(cbed_tf.__file__).parents[1])}
    return subprocess.Popen(words, stderr=subprocess.DEVNULL, cwd="/", env=environment)


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, as a batch job starts them: (scheduler file, scheduler)."""
    file = tmp_path / "scheduler.json"
    where = ("--scheduler-file", str(file))
    quiet = ("--no-dashboard", "--host", "127.0.0.1")
    processes = [start_dask("scheduler", *where, *quiet, "--port", "0")]
    processes += [start_dask("worker", *where, *quiet, "--nthreads", "1") for _ in range(2)]
    yield file, processes[0]
    for process in processes:
        process.kill()
        process.wait()


def test_through_a_scheduler_by_file_and_by_address(
    tmp_path, long_archive, by_one_process, cluster, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    words = [f"--input_dir={long_archive}", "--shard_size_mb=1", "--engine=dask"]
    by_file = [*words, "--output_dir=by_file", f"--scheduler={cluster[0]}"]
    assert main(["convert", *by_file]) == 0
    address = json.loads(cluster[0].read_text())["address"]
    with monkeypatch.context() as patch:
        patch.setattr(cbed_tf, "__version__", "9.9")
        assert main(["convert", *by_file]) == 1
    assert (
        f"cbed-tf is 9.9 here, at the scheduler: {cbed_tf.__version__}" in capsys.readouterr().err
    )
    by_address = [*words, "--output_dir=by_address", f"--scheduler={address}"]
    assert main(["convert", *by_address]) == 0

    assert checksums(tmp_path / "by_file") == by_one_process
    assert checksums(tmp_path / "by_address") == by_one_process


def test_a_lost_scheduler_ends_the_run_and_the_same_command_goes_on(
    tmp_path, long_archive, by_one_process, cluster, run_tasks
):
    output = tmp_path / "out"

    def kill_scheduler():
        wait_until(lambda: has_shards(output, 2))
        cluster[1].kill()

    killer = threading.Thread(target=kill_scheduler)
    killer.start()
    with (
        pytest.raises(CbedError, match="connection to the Dask scheduler is lost"),
        dask_engine.connect(str(cluster[0])) as on_cluster,
    ):
        convert_archive(long_archive, output, ConvertOptions(1), run_tasks=on_cluster)
    killer.join()
    assert not (output / "dataset.json").exists()

    convert_archive(long_archive, output, ConvertOptions(1), run_tasks=run_tasks)
    assert checksums(output) == by_one_process


# ---- The command


def test_ctrl_c_on_a_terminal_leaves_nothing_half_written(tmp_path, long_archive):
    words = [sys.executable, "-m", "cbed_tf", "convert", "--engine=dask", "--workers=2"]
    words += [f"--input_dir={long_archive}", f"--output_dir={tmp_path}/out", "--shard_size_mb=1"]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background ignores Ctrl-C and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: has_shards(tmp_path / "out", 1))
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all processes
    _, messages = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "interrupted" in messages
    assert "Traceback" not in messages
    assert not list((tmp_path / "out").glob(".*.tmp"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scheduler=tcp://127.0.0.1:1"], "--scheduler goes with --engine=dask only"),
        (["--engine=dask", "--scheduler=somewhere"], "--scheduler=somewhere should be tcp://"),
        (["--engine=dask", "--scheduler=s.json", "--workers=2"], "--workers does not go with"),
        (["--engine=spark"], "should be one of <processes|dask>"),
    ],
)
def test_wrong_flags_are_named_before_any_work(tmp_path, archive, capsys, flags, message):
    words = ["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out", *flags]

    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_dask_the_command_says_what_to_install(tmp_path, archive):
    words = ["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out"]
    program = (
        "import sys; sys.modules['distributed'] = None; from cbed_tf.__main__ import main; "
        f"assert main({[*words, '--engine=dask']}) == 1; assert main({words}) == 0"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "pip install -r requirements-dask.txt" in process.stderr


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:1", "nowhere.json"])
def test_a_scheduler_that_is_not_there(monkeypatch, tmp_path, scheduler):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_cluster, "_SECONDS_FOR_SCHEDULER", 0.5)

    with pytest.raises(CbedError, match="no Dask scheduler"), dask_engine.connect(scheduler):
        pass


def test_a_worker_of_another_version_is_refused(monkeypatch):
    class Client:
        def run(self, function, on_error):
            return {"tcp://10.0.0.1:4000": function(), "tcp://10.0.0.2:4000": "0.0.1"}

        def run_on_scheduler(self, function):
            return function()

    monkeypatch.setattr(dask_cluster, "_open_client", lambda _: contextlib.nullcontext(Client()))
    with (
        pytest.raises(CbedError, match=r"here, at tcp://10\.0\.0\.2:4000: 0\.0\.1"),
        dask_engine.connect("tcp://10.0.0.1:8786"),
    ):
        pass
