"""The SLURM file: every key is known, documented, and reaches the job script."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from wsikit.errors import ConfigError
from wsikit.execution.slurm_config import SlurmConfig, load_slurm_config

pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue: pip install 'wsikit[cluster]'")

EXAMPLE = Path(__file__).parents[2] / "configs" / "slurm.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "slurm.yaml"
    path.write_text(text)
    return path


def script(folder: Path, **keys: object) -> str:
    from wsikit.execution.pool import job_script

    path = write(folder, yaml.safe_dump({"cores": 2, "memory": "6GB", **keys}))
    return job_script(path)


def test_the_example_lists_every_key_and_its_default() -> None:
    given = load_slurm_config(EXAMPLE)
    assert given.jobs == SlurmConfig(cores=1, memory="1GB").jobs
    named = set(re.findall(r"^(?:# )?(\w+): ?", EXAMPLE.read_text(), re.MULTILINE))
    assert named == set(SlurmConfig.model_fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cores: 1\nmemory: 1GB\nquee: x", "unknown key 'quee': did you mean 'queue'?"),
        ("cores: 1\nmemory: 1GB\njobs: {max: 3}", "unknown key 'jobs.max': did you mean 'maxim"),
        ("memory: 1GB", "'cores' is missing: give the CPU cores of a job"),
        ("cores: 1\nmemory: 1024", "memory is 1024: "),
        ("cores: 1\nmemory: lots", "memory is 'lots': write a number and a unit"),
        ("cores: 1\nmemory: 1GB\nwalltime: 12:00:00", "walltime is 43200: write hours"),
        ("cores: 1\nmemory: 1GB\nprocesses: 2", "2 processes are more than 1 cores"),
        ("cores: 1\nmemory: 1GB\njobs: {minimum: 3, maximum: 2}", "minimum is above maximum"),
        ("cores: 1\nmemory: 1GB\nqueue: a b", "queue is 'a b': job scripts allow no space"),
        ("- 1", "not a YAML mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_slurm_config(write(tmp_path, text))
    assert said in str(caught.value)
    assert "slurm.yaml" in str(caught.value)


def test_an_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_slurm_config(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("walltime", "seconds"), [("00:30:00", 1800), ("12:05:06", 43506), ("2-01:00:00", 176400)]
)
def test_walltime_is_read_as_slurm_reads_it(walltime: str, seconds: int) -> None:
    assert SlurmConfig(cores=1, memory="1GB", walltime=walltime).seconds == seconds


def test_threads_are_those_of_all_jobs() -> None:
    assert SlurmConfig.model_validate({"cores": 4, "memory": "1GB", "jobs": 3}).threads == 12
    assert SlurmConfig(cores=5, processes=2, memory="1GB").threads == 40


def test_every_key_reaches_the_job(tmp_path: Path) -> None:
    made = script(
        tmp_path,
        queue="short", account="path", walltime="01:00:00", interface="lo",
        local_directory="$TMPDIR", log_directory=str(tmp_path / "logs"), python="/opt/py",
        job_script_prologue=["module load python"], job_extra_directives=["--exclusive"],
        job_directives_skip=["--mem"], death_timeout=77,
    )  # fmt: skip
    for line in (
        "#SBATCH -p short", "#SBATCH -A path", "#SBATCH -t 01:00:00", "#SBATCH --exclusive",
        "#SBATCH --cpus-per-task=2", f"#SBATCH -o {tmp_path}/logs/wsikit-%J.out",
        "module load python", "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
    ):  # fmt: skip
        assert line in made.splitlines()
    assert "--mem=" not in made
    worker = made.splitlines()[-1]
    assert worker.startswith("/opt/py -m distributed.cli.dask_worker SCHEDULER_ADDRESS --name")
    for option in (
        "--nthreads 1", "--nworkers 2", "--memory-limit 2.79GiB", "--death-timeout 77",
        "--local-directory $TMPDIR", "--interface lo", "--lifetime 3420s",
    ):  # fmt: skip
        assert option in worker


def test_the_script_is_sound_shell_and_its_settings_reach_dask(tmp_path: Path) -> None:
    *head, _ = script(tmp_path).splitlines()
    ask = (
        "import dask, distributed; c = dask.config.get; "
        "print(c('distributed.worker.memory.pause'), c('distributed.worker.memory.terminate'), "
        "distributed.nanny._get_env_variables('distributed.nanny.pre-spawn-environ'))"
    )
    import sys

    text = "\n".join(["set -eu", *head, f'{sys.executable} -c "{ask}"'])
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    pause, terminate, environment = done.stdout.split(maxsplit=2)
    assert (pause, terminate) == ("False", "0.95")
    assert "OMP_NUM_THREADS" in environment
    assert "MALLOC" not in environment
