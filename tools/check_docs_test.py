#!/usr/bin/env python3
"""A check that cannot fail is a defect: tools/check_docs on small trees, bad ones most of all."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = {"Makefile": "JOBS := 2\nall: x\n\ntest run:\n\ttrue\n", "README.md": "",
        "docs/HACKING.md": "", "docs/ARCHITECTURE.md": "| `src/core` | rules |\n",
        "src/core/message.cpp": "", "tools/tidy": "",
        "test/golden/schema-1.sql": ""}


def check(files):
    """Runs the checker on TREE with {name: text} in it; -> (exit code, all it printed)."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {**TREE, **files}.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = subprocess.run([sys.executable, ROOT / "tools" / "check_docs", folder],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout + run.stderr


class CheckDocs(unittest.TestCase):
    def assert_clean(self, text):
        code, output = check({"docs/STORAGE.md": text})
        self.assertEqual(code, 0, output)

    def assert_refused(self, text, what):
        code, output = check({"docs/STORAGE.md": f"\n{text}\n"})
        self.assertEqual(code, 1, f"{text!r} passed")
        self.assertIn("STORAGE.md:2:", output)
        self.assertIn(what, output)

    def test_what_is_there_passes(self):
        self.assert_clean("`src/core/message.cpp`, src/core/, `tools/tidy src/core/message.cpp`.")
        self.assert_clean("`make test` and `make run`; to make sure. [h](HACKING.md#a), "
                          "[r](../README.md), [w](https://example.org/x)")

    def test_a_path_that_is_gone_is_refused(self):
        self.assert_refused("see `src/core/lease.cpp`", "src/core/lease.cpp is not there")
        self.assert_refused("src/files/", "src/files/ is not there")
        self.assert_refused("`tools/gone src/core`", "tools/gone is not there")
        self.assert_refused("test/golden/table-N.sql", "is not there")

    def test_the_api_page_names_every_path_and_field(self):
        document = ('{"paths": {"/v1/jobs": '
                    '{"get": {"parameters": [{"name": "since", "in": "query"}]}},'
                    ' "/v1/jobs/{job}/a": {}, "/v1/jobs/{job}/b": {}}, "components": {"schemas": '
                    '{"Job": {"properties": {"age": {"properties": {"low": {}}}}}}}}')
        page = "`GET /v1/jobs?since=` age `low` `/v1/jobs/{job}/a`, `…/b`"
        files = {"src/doors/api/openapi.json": document}
        listed = {"docs/ARCHITECTURE.md": "| `src/core` | rules |\n| `src/doors/api` | doors |\n"}
        self.assertEqual(check({**files, **listed, "docs/API.md": page})[0], 0)
        for gone in ("since", "age", "low", "?since=", "`…/b`", "/v1/jobs/{job}/a"):
            kept = page.replace(gone, "") if gone != "?since=" else page.replace("/v1/jobs?", "")
            code, output = check({**files, **listed, "docs/API.md": kept})
            self.assertEqual(code, 1, f"{gone}: {output}")
            self.assertIn("API.md:1: does not name", output)

    def test_names_that_stand_for_any_are_left_alone(self):
        self.assert_clean("`test/seeds/x_fuzz/*`, test/e2e/x_test.py, src/x.cpp, src/<folder>/a, "
                          "test/golden/schema-N.sql, src/core/*.cpp, var/src/core/none.cpp")

    def test_a_target_that_is_gone_is_refused(self):
        self.assert_refused("`make everything`", "no target everything")
        self.assert_refused("make everything", "no target everything")
        self.assert_refused("`make JOBS`, `make jobs`", "no target jobs")

    def test_a_link_that_leads_nowhere_is_refused(self):
        self.assert_refused("[a](GONE.md)", "the link GONE.md leads nowhere")

    def test_the_readme_is_read_too(self):
        code, output = check({"README.md": "`src/gone.cpp`\n"})
        self.assertEqual(code, 1, output)

    def test_each_folder_is_listed_once(self):
        code, output = check({"src/engine/batch.cpp": ""})
        self.assertEqual(code, 1, output)
        self.assertIn("ARCHITECTURE.md:1: does not list src/engine/", output)
        code, output = check({"docs/ARCHITECTURE.md": "| `src/core` | a |\n| `src/core` | b |\n"})
        self.assertEqual(code, 1, output)
        self.assertIn("more than once", output)


if __name__ == "__main__":
    unittest.main()
