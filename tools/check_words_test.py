#!/usr/bin/env python3
"""A check that cannot fail is a defect: tools/check_words on small trees, bad ones most of all.

The bad trees are held against the real src/WORDS, so a word that vanishes from it is missed here.
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = (ROOT / "src" / "WORDS").read_text()
FOLDERS = ("base", "core", "engine", "store/contract", "store/memory", "net", "http", "doors")


def check(files, words=WORDS):
    """Runs the checker on a tree of {name: text}; -> (exit code, all it printed)."""
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        for name, text in {"WORDS": words, **files}.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = subprocess.run([sys.executable, ROOT / "tools" / "check_words", folder],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout + run.stderr


class CheckWords(unittest.TestCase):
    def assert_refused(self, name, line):
        code, output = check({name: f"\n{line}\n"})
        self.assertEqual(code, 1, f"{name} with {line!r} passed")
        self.assertIn(f"{name}:2:", output)

    def test_general_words_pass(self):
        text = "// Holds a message, releases it, runs it early.\nstruct Held { int released; };\n"
        code, output = check({"core/held.h": text, "engine/act_test.cpp": text})
        self.assertEqual(code, 0, output)

    def test_a_door_speaks_its_protocol(self):
        code, output = check({"doors/beanstalk/session.cpp": "void kick(Tube& tube);\n"})
        self.assertEqual(code, 0, output)

    def test_each_protocol_is_refused_in_each_folder(self):
        for folder in ("base", "core", "engine"):
            for word in ("tube", "bury", "buried", "kick", "urgent", "beanstalkd", "jid", "klass",
                         "faktory", "resque", "sidekiq", "qless"):
                self.assert_refused(f"{folder}/x.h", f"int {word} = 0;")

    def test_identifiers_are_read_word_by_word(self):
        for line in ("void on_tube_gone();", "constexpr int kTubeMax = 1;", "int tubes_;",
                     "struct KickAll {};", "enum { BURIED_MAX };", "int JIDOfMessage;"):
            self.assert_refused("engine/x.cpp", line)

    def test_a_word_inside_another_is_none(self):
        code, output = check({"core/x.h": "// A kickoff in a tubeless tyre; burials.\n"})
        self.assertEqual(code, 0, output)

    def test_comments_texts_tests_and_names_of_files_count(self):
        self.assert_refused("core/x.h", "// what beanstalkd calls a tube")
        self.assert_refused("core/x.cpp", 'fail("Buried messages stay");')
        self.assert_refused("engine/x_test.cpp", "TEST(Kick, Works) {}")
        self.assert_refused("core/deep/er/x.h", "int kick;")
        code, output = check({"engine/kick.cpp": "\n"})
        self.assertEqual(code, 1, output)
        self.assertIn("the name of the file", output)

    def test_rules_that_make_no_sense_are_refused(self):
        for words in ("", "core\n", "core:\n", ": tube\n", "core: Tube\n", "nowhere: tube\n"):
            code, output = check({}, words)
            self.assertEqual(code, 2, f"{words!r}: {output}")


if __name__ == "__main__":
    unittest.main()
