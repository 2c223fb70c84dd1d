"""`wsikit tile --slurm` on a real SLURM, which slurm/start.sh brings up on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, run_process, tree
from tests.execution.conftest import Start, tile_call, wait_until

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
FOLDER = Path(__file__).parent / "slurm"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in NEEDED) or os.getuid() != 0,
        reason="needs root and Debian's slurmctld, slurmd, slurm-client and munge",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A SLURM of one node."""
    pytest.importorskip("dask_jobqueue")
    folder = tmp_path_factory.mktemp("slurm")
    done = subprocess.run(
        [FOLDER / "start.sh", folder], capture_output=True, text=True, timeout=120, check=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            if done.returncode:
                pytest.skip(f"SLURM does not come up here: {done.stderr.strip()[-200:]}")
            yield
        finally:
            subprocess.run([FOLDER / "stop.sh", folder], timeout=60, check=True)


def jobs() -> list[list[str]]:
    done = subprocess.run(
        ["squeue", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True
    )
    return [line.split() for line in done.stdout.splitlines()]


def slurm_file(folder: Path, *lines: str) -> Path:
    text = ["cores: 1", "memory: 2GB", 'walltime: "00:10:00"', f"log_directory: {folder}/logs"]
    path = folder / "slurm.yaml"
    path.write_text("\n".join([*text, *lines]) + "\n")
    return path


def test_two_jobs_tile_to_the_same_bytes(
    started: Start, slides: Path, serial: dict[str, bytes], tmp_path: Path
) -> None:
    config = slurm_file(tmp_path, "jobs: 2")
    process = started(*tile_call(slides, tmp_path / "store", "--slurm", config))
    most = 0
    while process.poll() is None:
        most = max(most, [state for _, state in jobs()].count("RUNNING"))
        time.sleep(0.2)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert most == 2
    assert "dashboard: http://" in err
    assert tree(tmp_path / "store" / "slides") == serial
    wait_until(lambda: jobs() == [])


def test_a_cancelled_job_is_asked_for_again(
    started: Start, slides: Path, serial: dict[str, bytes], tmp_path: Path
) -> None:
    config = slurm_file(tmp_path, "jobs: {maximum: 1}")
    process = started(*tile_call(slides, tmp_path / "store", "--slurm", config))
    wait_until(lambda: any((tmp_path / "store" / "slides").glob("*.zarr")), 120)
    ((first, _),) = jobs()
    subprocess.run(["scancel", first], check=True)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert tree(tmp_path / "store" / "slides") == serial


def run(slides: Path, folder: Path, *lines: str) -> Answer:
    config = slurm_file(folder, *lines)
    answer = run_process(*tile_call(slides, folder / "store", "--slurm", config))
    wait_until(lambda: jobs() == [])
    assert "Traceback" not in answer.err
    return answer


def test_a_refused_job_is_one_line(slides: Path, tmp_path: Path) -> None:
    answer = run(slides, tmp_path, "queue: nowhere")
    assert answer.code == 1
    assert "error: SLURM refused a job (sbatch: error: invalid partition" in answer.err


def test_jobs_that_end_at_once_are_one_line(slides: Path, tmp_path: Path) -> None:
    answer = run(slides, tmp_path, 'job_script_prologue: ["exit 3"]', "jobs: 2")
    assert answer.code == 1
    assert "ended before their workers came: see the jobs' output in" in answer.err


def test_a_pending_job_is_waited_for_and_ends_with_a_killed_run(
    started: Start, slides: Path, tmp_path: Path
) -> None:
    config = slurm_file(tmp_path, "jobs: 1", "death_timeout: 10")
    every = f"--cpus-per-task={os.cpu_count()}"
    done = subprocess.run(
        ["sbatch", "--parsable", every, "--output=/dev/null", "--wrap=sleep 60"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    blocker = done.stdout.strip()
    wait_until(lambda: [blocker, "RUNNING"] in jobs())
    process = started(*tile_call(slides, tmp_path / "store", "--slurm", config))
    assert process.stderr is not None
    said = next(line for line in process.stderr if "waiting for workers" in line)
    assert "SLURM job" in said
    assert "pending" in said
    subprocess.run(["scancel", blocker], check=True)
    wait_until(lambda: any((tmp_path / "store" / "slides").glob("*.zarr")), 120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: jobs() == [], 90)
