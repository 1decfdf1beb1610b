"""One run at a time in a data folder."""

import signal
import subprocess
import sys
import threading

import pytest

from edit_robustness.locking import LOCKS, FolderInUse, RunLock

HOLDING = """
import sys, time
from pathlib import Path
from edit_robustness.locking import RunLock
sys.argv = ["/bin/kedro", "run", "--env=the test"]
lock = RunLock()
lock.acquire(Path(sys.argv0), {"", "tiny"})
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other_run(tmp_path):
    """A process that holds the lock of the folder."""
    code = HOLDING.replace("sys.argv0", repr(str(tmp_path)))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_at_once_and_told_who_holds_the_folder(other_run, tmp_path):
    lock = RunLock()
    message = (
        rf"another run \(process {other_run.pid} on .*, started at 20.*\+00:00, `kedro run '--env=the test'`\) is "
        rf"writing model tiny in the data folder {tmp_path}, which this command "
        "would use, too. Wait for its end, or set `data`"
    )
    with pytest.raises(FolderInUse, match=message):
        lock.acquire(tmp_path, {"tiny"})
    other_run.send_signal(signal.SIGSTOP)
    with pytest.raises(FolderInUse, match=message):
        lock.acquire(tmp_path, {"tiny"})
    (tmp_path / LOCKS / "model tiny.json").write_text("{")
    with pytest.raises(FolderInUse, match="another run "):
        lock.acquire(tmp_path, {"tiny"})


def test_runs_of_other_models_share_the_folder(other_run, tmp_path):
    lock = RunLock()
    lock.acquire(tmp_path, {"other"})
    with pytest.raises(FolderInUse, match="is writing the tables of all models"):
        lock.acquire(tmp_path, {"", "other"})
    third = RunLock()
    third.acquire(tmp_path, {"other"})  # a refused run holds nothing
    third.release()


def test_a_killed_run_leaves_the_folder_free(other_run, tmp_path):
    other_run.kill()
    other_run.wait()
    assert str(other_run.pid) in (tmp_path / LOCKS / "model tiny.json").read_text()
    lock = RunLock()
    lock.acquire(tmp_path, {"tiny"})
    assert str(other_run.pid) not in (tmp_path / LOCKS / "model tiny.json").read_text()
    lock.release()
    assert not (tmp_path / LOCKS / "model tiny.json").exists()
    lock.release()


def test_the_lock_passes_on_in_its_thread_only(tmp_path):
    lock, errors = RunLock(), []
    lock.acquire(tmp_path, {"tiny"})
    lock.acquire(tmp_path, {"tiny"})  # the run before was interrupted, and Kedro reports no end of it

    def second():
        try:
            lock.acquire(tmp_path, {"tiny"})
        except FolderInUse as error:
            errors.append(error)

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert len(errors) == 1
    lock.release()
    second_lock = RunLock()
    second_lock.acquire(tmp_path, {"tiny"})
    second_lock.release()


def test_a_folder_in_the_place_of_a_lock_stops_no_run(tmp_path):
    (tmp_path / LOCKS / "shared.lock").mkdir(parents=True)
    lock = RunLock()
    lock.acquire(tmp_path, {""})
    lock.release()
    assert (tmp_path / LOCKS / "shared.lock.1.set_aside").is_dir()
