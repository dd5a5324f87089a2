#!/usr/bin/env python3
"""A check that cannot fail is a defect: tools/check_sizes on small trees, bad ones most of all."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def check(files, folders=()):
    """Runs the checker on a tree of {name: text}; -> (exit code, all it printed)."""
    with tempfile.TemporaryDirectory() as top:
        for folder in folders:
            (Path(top) / folder).mkdir(parents=True)
        for name, text in files.items():
            path = Path(top) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = subprocess.run([sys.executable, ROOT / "tools" / "check_sizes", top],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout + run.stderr


def class_of(*members):
    return "class Thing {\n public:\n" + "".join(f"  {m}\n" for m in members) + "};\n"


class CheckSizes(unittest.TestCase):
    def assert_counts(self, member, functions):
        """Filled up to 35 functions, a class with `member` passes; with one more it does not."""
        others = [f"void f{i}();" for i in range(36 - functions)]
        code, output = check({"a/x.h": "\n" + class_of(member, *others)})
        self.assertEqual(code, 1, f"{member}: {output}")
        self.assertIn("x.h:2: Thing has 36 functions", output)
        code, output = check({"a/x.h": class_of(member, *others[1:])})
        self.assertEqual(code, 0, f"{member}: {output}")

    def test_a_long_file_is_refused(self):
        self.assertEqual(check({"a/x.cpp": "//\n" * 800})[0], 0)
        code, output = check({"a/x.cpp": "//\n" * 801})
        self.assertEqual(code, 1)
        self.assertIn("801 lines", output)

    def test_a_long_function_is_refused(self):
        def function(lines, indent=""):
            inside = "".join(f"{indent}  if (a) {{\n{indent}    b();\n{indent}  }}\n" for _ in range(24))
            more = f"{indent}  c();  // }}\n" * (lines - 75)
            return f"{indent}Result<int> f(int a,\n{indent}              int b) {{\n{inside}{more}{indent}}}\n"

        for form in ("{}", "namespace x {{\n{}}}  // namespace x\n", "class Thing {{\n public:\n{}}};\n"):
            indent = "  " if "class" in form else ""
            self.assertEqual(check({"a/x.cpp": form.format(function(75, indent))})[0], 0, form)
            code, output = check({"a/x.cpp": form.format(function(76, indent))})
            self.assertEqual(code, 1, form)
            self.assertIn("a function of 76 lines", output)
        self.assertEqual(check({"a/x_test.cpp": function(99)})[0], 0)
        table = "constexpr int kTable[] = {\n" + "    1,\n" * 99 + "};\n"
        self.assertEqual(check({"a/x.cpp": table})[0], 0)

    def test_a_folder_without_a_source_file_is_refused(self):
        file = {"a/x.h": "\n", "b/c/y.h": "\n"}
        self.assertEqual(check(file)[0], 0)
        self.assertEqual(check(file, ["d"])[0], 1)
        code, output = check({**file, "d/CMakeLists.txt": "\n"})
        self.assertEqual(code, 1, output)
        self.assertIn("d:1: a folder without", output)

    def test_an_empty_tree_proves_nothing(self):
        self.assertEqual(check({})[0], 2)

    def test_functions_of_every_form_count(self):
        for member in ("int f() const;", "int f() { return g(1); }", "Thing();", "~Thing();",
                       "explicit Thing(int a) : a_(a), b_{1} {}", "virtual void f() = 0;",
                       "Thing& operator=(const Thing&) = default;", "static int f(int a = 1);",
                       "bool operator==(const Thing&) const = default;",
                       "template <typename T>\n  void f(T t);", "std::map<int, int> f();",
                       "private:\n  void f();"):
            self.assert_counts(member, 1)

    def test_what_is_no_function_does_not_count(self):
        for member in ("int a;", "int a = f(1);", "std::function<void(int)> call;",
                       "Thing(const Thing&) = delete;", "using F = void (*)(int);",
                       "friend void f();", "int f() const override { return g(1); }", "void f() final;",
                       "static_assert(sizeof(int) == 4);",
                       "// void f();", "/* void f(); */", 'const char* a = "void f();";',
                       "enum class E { a, b };", "struct Inner { void f(); };"):
            self.assert_counts(member, 0)

    def test_a_class_inside_another_has_a_count_of_its_own(self):
        inner = "struct Inner {" + "void f();" * 36 + "};"
        code, output = check({"a/x.h": class_of(inner)})
        self.assertEqual(code, 1, output)
        self.assertIn("Inner has 36 functions", output)
        self.assertNotIn("Thing has", output)

    def test_a_rig_may_have_as_many_as_it_likes(self):
        many = class_of(*(f"void f{i}();" for i in range(50)))
        for name in ("x_rig.h", "x_test.cpp"):
            self.assertEqual(check({f"a/{name}": many})[0], 0)


if __name__ == "__main__":
    unittest.main()
