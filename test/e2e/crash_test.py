"""Fifty rounds of kill -9 in every test run; crash.py says what it does."""
# ctest-timeout: 600
import subprocess
import sys
import pathlib

HERE = pathlib.Path(__file__).parent
sys.exit(subprocess.run([sys.executable, HERE / "crash.py", "--rounds", "50"]).returncode)
