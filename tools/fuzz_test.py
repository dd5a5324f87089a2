#!/usr/bin/env python3
"""tools/fuzz on targets that are made up: what it counts, and that a failure is one."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOOD = """#!/bin/sh
echo stat::number_of_executed_units: 40
echo stat::new_units_added: 2
printf '%s\\n' "$@" >"$0.arguments"
"""
BAD = "#!/bin/sh\necho 'deadly signal'\nexit 77\n"


class Fuzz(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.TemporaryDirectory()
        self.addCleanup(self.top.cleanup)
        self.build = Path(self.top.name) / "build"
        self.seeds = Path(self.top.name) / "seeds"
        (self.build / "src" / "wire").mkdir(parents=True)

    def fuzz(self, targets, without_seeds=()):
        """Runs the tool on {name: program}; -> (exit code, all it printed)."""
        for name, program in targets.items():
            path = self.build / "src" / "wire" / name
            path.write_text(program)
            path.chmod(0o755)
            if name not in without_seeds:
                (self.seeds / name).mkdir(parents=True)
                (self.seeds / name / "one").write_text("x")
        (self.build / "fuzzers.txt").write_text(";".join(targets))
        run = subprocess.run([ROOT / "tools" / "fuzz", self.build, "3"], capture_output=True,
                             text=True, check=False,
                             env={**os.environ, "RQ_SEEDS": str(self.seeds)})
        return run.returncode, run.stdout + run.stderr

    def test_all_targets_run_and_are_counted(self):
        code, output = self.fuzz({"a_fuzz": GOOD, "b_fuzz": GOOD})
        self.assertEqual(code, 0, output)
        self.assertIn("tools/fuzz: 2 targets, 3 s each, 80 inputs, 0 failed\n", output)
        arguments = (self.build / "src" / "wire" / "a_fuzz.arguments").read_text().split()
        self.assertIn("-max_total_time=3", arguments)
        self.assertIn(str(self.seeds / "a_fuzz"), arguments)

    def test_a_target_that_crashes_fails_and_the_others_run(self):
        code, output = self.fuzz({"a_fuzz": BAD, "b_fuzz": GOOD})
        self.assertEqual(code, 1, output)
        self.assertIn("deadly signal", output)
        self.assertIn("2 targets, 3 s each, 40 inputs, 1 failed: a_fuzz\n", output)

    def test_a_target_without_seeds_fails(self):
        code, output = self.fuzz({"a_fuzz": GOOD}, without_seeds=["a_fuzz"])
        self.assertEqual(code, 1, output)
        self.assertIn("a_fuzz has no inputs", output)

    def test_no_targets_prove_nothing(self):
        code, output = self.fuzz({})
        self.assertEqual(code, 1, output)


if __name__ == "__main__":
    unittest.main()
