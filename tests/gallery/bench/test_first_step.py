"""The first step of a second process, which finds the compiled step on disk and starts no compiler."""

import json
import os
import subprocess
import sys

import pytest

from gallery.bench import whole_fits as module
from gallery.bench.first_step import first_step
from gallery.bench.whole_fits import time_second_process

STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system")
CODE = f"""
import json, sys
from gallery.bench.first_step import first_step
started = []
sys.addaudithook(lambda event, args: started.append(str(args)) if event in {STARTS} else None)
print(json.dumps(first_step(sys.argv[1]) | {{"started": started}}))
"""


def files(folder):
    """Every file with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["factor_analysis", "vae"])
def test_a_second_process_compiles_nothing(name, tmp_path):
    caches = {"XDG_CACHE_HOME": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    command, environment = [sys.executable, "-c", CODE, name], os.environ | caches | {"OMP_NUM_THREADS": "1"}

    def process():
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first, before = process(), files(tmp_path)
    assert first["started"]  # the compiler
    assert len([path for path in before if path.name == "step.so"]) == 1
    second = process()
    assert second["started"] == []
    assert files(tmp_path) == before
    assert second["compiling"] < first["compiling"]
    for seconds in (first, second):
        assert 0 < seconds["tracing"] + seconds["compiling"] < seconds["first_step"]


def test_the_first_of_the_processes_is_not_counted(monkeypatch):
    seconds = iter((9.0, 3.0, 1.0, 2.0))
    monkeypatch.setattr(module, "_run", lambda command, environment: json.dumps({"first_step": next(seconds)}))
    assert time_second_process("vae") == {"second_process_s": 2.0, "second_process_spread": [1.0, 3.0]}


@pytest.mark.integration
def test_the_parts_of_a_first_step_are_less_than_the_whole(monkeypatch, tmp_path):
    monkeypatch.setattr("inference.fit.step.fused", lambda graph, args: graph)  # compiles nothing
    monkeypatch.setattr("inference.fit.step.compile_whole_steps", lambda *_: None)
    result = first_step("factor_analysis")
    assert result.keys() == {"first_step", "tracing", "compiling"}
    assert 0 < result["compiling"] < result["tracing"] < result["first_step"]
