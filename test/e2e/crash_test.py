"""Rounds of kill -9, of steps of the clock and of a stopped server in every test run; crash.py says
what it does. The clock is stepped by a library that builds with sanitizers do not have."""
# ctest-timeout: 900
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
RUNS = [["--rounds", "50"], ["--rounds", "20", "--kill", "clock"], ["--rounds", "2", "--kill", "stop"]]
if os.environ.get("RQ_SANITIZE"):
    del RUNS[1]
sys.exit(max(subprocess.run([sys.executable, HERE / "crash.py", *run], check=False).returncode
             for run in RUNS))
