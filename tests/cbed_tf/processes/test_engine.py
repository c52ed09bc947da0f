"""Tasks are all done whatever happens to a process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cbed_tf.processes import engine
from cbed_tf.processes.progress import Progress


def square(number):
    engine.advance(1)
    return number * number


def die_on_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def die_of_kills(path_and_kills):
    path, kills = path_and_kills
    with open(path, "ab") as file:
        file.write(b"x")
    if os.path.getsize(path) <= kills:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def loop_on_three(number):
    if number == 3:
        engine.limit_step(0.2)
        while True:
            pass
    return number


def refuse(number):
    raise ValueError(f"no {number}")


def work_long(number):
    for _ in range(600):
        time.sleep(0.05)
        engine.advance(1)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_is_done_once(workers):
    with Progress("squares", 20, "tasks") as progress:
        results = dict(engine.run_tasks(square, range(20), workers, progress))

    assert results == {number: number * number for number in range(20)}
    assert progress.done == 20


def test_a_task_that_kills_its_process_is_named_and_the_others_are_done():
    results = dict(engine.run_tasks(die_on_three, range(8), 2))

    assert isinstance(results.pop(3), engine.Crashed)
    assert results == {number: number for number in range(8) if number != 3}


def test_a_process_that_is_killed_once_costs_nothing(tmp_path):
    tasks = [str(tmp_path / name) for name in "ab"]

    assert dict(engine.run_tasks(die_once, tasks, 1)) == {0: "survived", 1: "survived"}


def test_a_task_whose_process_is_killed_now_and_then_is_innocent(tmp_path):
    tasks = [(str(tmp_path / "few"), 4), (str(tmp_path / "all"), 10**6)]

    few, many = dict(sorted(engine.run_tasks(die_of_kills, tasks, 1))).values()
    assert few == "survived"
    assert isinstance(many, engine.Crashed)


def test_a_task_that_never_ends_is_named_and_the_others_are_done():
    results = dict(engine.run_tasks(loop_on_three, range(5), 2))

    assert isinstance(results.pop(3), engine.Crashed)
    assert results == {number: number for number in range(5) if number != 3}


def test_what_a_task_raises_is_raised():
    with pytest.raises(ValueError, match="no 0"):
        list(engine.run_tasks(refuse, [0], 1))


def test_giving_up_ends_tasks_within_a_step():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for _ in engine.run_tasks(mixed, [True, False], 2):
            raise KeyboardInterrupt

    assert time.monotonic() - start < 15  # the long task alone takes 30 s


def mixed(is_short):
    return None if is_short else work_long(0)


def test_workers_die_with_their_parent(tmp_path):
    program = (
        "import os, sys, time\n"
        "sys.path[:0] = sys.argv[1:2]\n"
        "from cbed_tf.processes import engine\n"
        "from engine_tasks import note_pid_and_wait\n"
        "list(engine.run_tasks(note_pid_and_wait, [sys.argv[2]] * 2, 2))\n"
    )
    (tmp_path / "engine_tasks.py").write_text(
        "import os, time\n"
        "def note_pid_and_wait(folder):\n"
        "    open(f'{folder}/{os.getpid()}.pid', 'w').close()\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    words = [sys.executable, "-c", program, str(tmp_path), str(tmp_path)]
    parent = subprocess.Popen(words, env=environment)
    deadline = time.monotonic() + 30
    while len(pids := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()

    assert len(pids) == 2
    while any(is_alive(int(path.stem)) for path in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(int(path.stem)) for path in pids)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_script_without_a_main_guard_may_convert(tmp_path, archive):
    script = tmp_path / "script.py"
    script.write_text(
        "from cbed_tf.conversion.convert import convert_archive\n"
        f"print('samples', convert_archive({str(archive)!r}, {str(tmp_path / 'out')!r})"
        ".splits['train'].samples)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)

    assert done.stdout == "samples 8\n"
