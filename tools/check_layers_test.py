#!/usr/bin/env python3
"""A check that cannot fail is a defect: tools/check_layers on small trees, bad ones most of all.

The bad trees are held against the real src/LAYERS, so a rule that vanishes from it is missed here.
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (ROOT / "src" / "LAYERS").read_text()


def check(files, layers=LAYERS):
    """Runs the checker on a tree of {name: text}; -> (exit code, all it printed)."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"LAYERS": layers, **files}.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = subprocess.run([sys.executable, ROOT / "tools" / "check_layers", folder],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout + run.stderr


class CheckLayers(unittest.TestCase):
    def assert_clean(self, name, include):
        code, output = check({name: f"#include {include}\n"})
        self.assertEqual(code, 0, output)

    def assert_refused(self, name, include):
        code, output = check({name: f"// why\n#include {include}\n"})
        self.assertEqual(code, 1, f"{name} with {include} passed")
        self.assertIn(f"{name}:2:", output)

    def test_what_the_rules_allow_passes(self):
        self.assert_clean("core/lease.h", '"base/result.h"')
        self.assert_clean("engine/engine.cpp", '"core/store.h"')
        self.assert_clean("core/engine.cpp", '"core/lease.h"')
        self.assert_clean("store/sqlite/store.cpp", "<sqlite3.h>")
        self.assert_clean("doors/api/door.cpp", '"pipeline/pipeline.h"')
        self.assert_clean("server/server.cpp", '"doors/api/door.h"')
        self.assert_clean("main.cpp", '"cli/cli.h"')
        self.assert_clean("worker/child.cpp", "<unistd.h>")

    def test_a_lower_layer_does_not_see_a_higher_one(self):
        self.assert_refused("base/json.h", '"core/message.h"')
        self.assert_refused("core/engine.cpp", '"pipeline/pipeline.h"')
        self.assert_refused("wire/beanstalk.h", '"core/message.h"')
        self.assert_refused("client/client.cpp", '"pipeline/pipeline.h"')
        self.assert_refused("core/store.h", '"pipeline/pipeline.h"')

    def test_the_engine_sees_nothing_of_the_store_but_its_port(self):
        self.assert_refused("engine/engine.cpp", '"store/sqlite/store.h"')
        self.assert_refused("engine/engine.cpp", '"store/sqlite/records.h"')

    def test_a_door_sees_no_other_door_and_no_database(self):
        self.assert_refused("doors/api/door.cpp", '"doors/beanstalk/door.h"')
        self.assert_refused("doors/beanstalk/door.cpp", '"doors/api/door.h"')
        self.assert_refused("doors/api/door.cpp", '"store/sqlite/store.h"')
        self.assert_refused("doors/api/door.cpp", "<sqlite3.h>")

    def test_those_who_talk_to_the_api_do_not_open_the_store(self):
        self.assert_refused("cli/show.cpp", '"store/sqlite/db.h"')
        self.assert_refused("worker/supervisor.cpp", '"store/sqlite/store.h"')
        self.assert_refused("worker/supervisor.cpp", '"pipeline/pipeline.h"')

    def test_a_database_header_stays_in_the_engine_that_speaks_it(self):
        self.assert_refused("core/store.h", "<sqlite3.h>")
        self.assert_refused("core/store.h", '"sqlite3.h"')
        self.assert_clean("store/sqlite/db.h", "<sqlite3.h>")

    def test_a_database_header_does_not_come_in_through_another(self):
        tree = {"store/sqlite/db.h": "#include <sqlite3.h>\n",
                "store/sqlite/store.h": '#include "store/sqlite/db.h"\n',
                "server/daemon.cpp": '\n#include "store/sqlite/store.h"\n'}
        code, output = check(tree)
        self.assertEqual(code, 1, output)
        self.assertIn("server/daemon.cpp:2: <sqlite3.h> comes in by store/sqlite/store.h", output)
        tree["store/sqlite/store.h"] = "struct Db;\n"
        code, output = check(tree)
        self.assertEqual(code, 0, output)

    def test_core_has_no_thread_lock_file_or_socket(self):
        for header in ("<thread>", "<mutex>", "<fstream>", "<sys/socket.h>", "<boost/asio.hpp>"):
            self.assert_refused("core/engine.cpp", header)

    def test_a_test_may_read_a_file_but_not_a_database_or_a_higher_layer(self):
        self.assert_clean("core/lifecycle_test.cpp", "<fstream>")
        self.assert_refused("core/lifecycle_test.cpp", "<sqlite3.h>")
        self.assert_refused("core/lifecycle_test.cpp", '"pipeline/pipeline.h"')

    def test_includes_are_written_from_src(self):
        self.assert_refused("core/engine.cpp", '"lease.h"')
        self.assert_refused("core/engine.cpp", '"../base/result.h"')

    def test_an_unknown_folder_is_not_free_of_rules(self):
        self.assert_refused("core/engine.cpp", '"misc/thing.h"')
        code, output = check({"misc/thing.h": "\n"})
        self.assertEqual(code, 1, output)

    def test_odd_spelling_is_still_an_include(self):
        self.assert_refused("base/a.h", ' "core/message.h"  // just this once')
        code, _ = check({"base/a.h": '  #  include "core/message.h"\n'})
        self.assertEqual(code, 1)

    def test_rules_that_make_no_sense_are_refused(self):
        floors = "floors: a | b c\n"
        for layers in ("a: b\n", "a:\na:\n", "a\n", "a: b\nb: c\nc: a\n", "<x.h> maybe a\n"):
            code, output = check({}, floors + layers)
            self.assertEqual(code, 2, f"{layers!r}: {output}")

    def test_no_line_lets_a_folder_include_what_is_above_it(self):
        rules = "a:\nb: a c\nc: a\n"
        code, output = check({}, "floors: a | b c\n" + rules)
        self.assertEqual(code, 0, output)
        for floors in ("floors: a | b | c\n", "floors: b | a | c\n"):
            code, output = check({}, floors + rules)
            self.assertEqual(code, 2, output)
            self.assertIn("an arrow up: 'b'", output)
        # Nor does a subfolder, or a line that names one header.
        code, output = check({}, "floors: a | b\na/x: b/one.h\nb:\n")
        self.assertEqual(code, 2, output)
        self.assertIn("an arrow up: 'a/x' may not have 'b/one.h'", output)

    def test_every_folder_stands_on_one_floor(self):
        for layers in ("a:\n", "floors: a\nb:\n", "floors: a\nfloors: a\na:\n"):
            code, output = check({}, layers)
            self.assertEqual(code, 2, f"{layers!r}: {output}")
            self.assertIn("floor", output)


if __name__ == "__main__":
    unittest.main()
