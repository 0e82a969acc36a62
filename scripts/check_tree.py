#!/usr/bin/env python3
"""Checks a source tree: layers, sizes, links in documents, names. Prints FILE:LINE: PROBLEM for each
finding and exits 1 if there is any. Usage: check_tree.py ROOT. tests/check/ is its test."""

import ast
import os
import re
import subprocess
import sys

# Each is a limit that the count must stay under (docs: CONTRIBUTING.md).
FUNCTION_LINES = 70
SOURCE_LINES = 500
HEADER_LINES = 200

VAGUE_FOLDERS = {"utils", "util", "common", "misc", "helpers"}
# Packages come from the machine's own configuration; a host named here would break behind a mirror.
REGISTRY_HOSTS = re.compile(
    r"\b(?:(?:deb|ftp|security|snapshot)\.debian|(?:archive|ports)\.ubuntu|apt\.postgresql|pypi|npmjs"
    r"|pythonhosted|crates|conan|docker|quay|ghcr|rubygems|golang)\.(?:org|io|com)\b")


class Findings:
    def __init__(self):
        self.count = 0

    def add(self, path, line, problem):
        self.count += 1
        print(f"{path}:{line}: {problem}", file=sys.stderr)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def tree_files(root):
    """All files of the project: what git knows or would add; without git, everything."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True, check=False)
    if listed.returncode == 0:
        names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        names = [os.path.relpath(os.path.join(folder, file), root)
                 for folder, _, files in os.walk(root) for file in files]
    return sorted(name for name in names
                  if not name.startswith("build/") and os.path.isfile(os.path.join(root, name)))


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


# Comments, raw strings, strings, characters (not the ' of 1'000) and preprocessor lines.
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-zA-Z])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*", re.S | re.M)


def functions(text):
    """(name, first line, last line) of each function with a body, for code that clang-format wrote.
    Lambdas and local types belong to the function that they stand in."""
    code = NOT_CODE.sub(blank, text)
    scopes = []  # "function" or "other", for each open brace
    start = 0  # where the declaration that is being read began
    opened = None
    for position, char in enumerate(code):
        inside = "function" in scopes
        if char == "{":
            head = code[start:position]
            initialiser = code[position - 1].isalnum() or code[position - 1] in "_>=,({"
            if inside or initialiser:
                scopes.append("other" if inside else "initialiser")
            elif "(" in head and not re.search(r"\b(?:namespace|enum)\b|=\s*$", head):
                scopes.append("function")
                opened = start + len(head) - len(head.lstrip()), head
            else:
                scopes.append("other")
                start = position + 1
        elif char == "}" and scopes:
            closed = scopes.pop()
            if closed == "function":
                begin, head = opened
                name = re.search(r"([\w:~]+|operator\W+)\s*\(", head)
                yield (name.group(1) if name else "?", code.count("\n", 0, begin) + 1,
                       code.count("\n", 0, position) + 1)
            if closed != "initialiser" and "function" not in scopes:
                start = position + 1
        elif char == ";" and not inside and "initialiser" not in scopes:
            start = position + 1


def check_sizes(root, files, findings):
    for path in files:
        if not path.endswith((".cc", ".h")):
            continue
        text = read(os.path.join(root, path))
        lines = text.count("\n")
        limit = HEADER_LINES if path.endswith(".h") else SOURCE_LINES
        if lines >= limit:
            findings.add(path, lines, f"{lines} lines; a file of its kind stays under {limit}")
        for name, first, last in functions(text):
            if last - first + 1 >= FUNCTION_LINES:
                findings.add(path, first, f"{name}: {last - first + 1} lines; a function stays under "
                                          f"{FUNCTION_LINES}")


def check_layers(root, files, findings):
    order = re.findall(r"add_subdirectory\(src/(\w+)\)", read(os.path.join(root, "CMakeLists.txt")))
    for path in files:
        parts = path.split("/")
        if parts[0] != "src" or len(parts) < 3 or not path.endswith((".cc", ".h")):
            continue
        layer = parts[1]
        if layer not in order:
            findings.add(path, 1, f"src/{layer} is no layer: CMakeLists.txt does not name it")
            continue
        text = read(os.path.join(root, path))
        for match in re.finditer(r'^\s*#\s*include\s*"([^"]+)"', text, re.M):
            line = text.count("\n", 0, match.start()) + 1
            target = match.group(1).split("/")[0]
            if target not in order or "/" not in match.group(1):
                findings.add(path, line, f'"{match.group(1)}" is not in a layer: write "LAYER/file.h"')
            elif order.index(target) > order.index(layer):
                findings.add(path, line, f"{layer} includes {target}, a layer above it")


def anchors(path):
    """The anchors of a document's headings, as the usual renderers make them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ +(.+)$", read(path), re.M)}


def check_links(root, files, findings):
    for path in files:
        if not path.endswith(".md"):
            continue
        full = os.path.join(root, path)
        text = re.sub(r"^```.*?^```", blank, read(full), flags=re.S | re.M)
        for match in re.finditer(r"\[[^\]\n]*\]\(([^)\s]+)\)", text):
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            line = text.count("\n", 0, match.start()) + 1
            there = os.path.normpath(os.path.join(os.path.dirname(full), target)) if target else full
            if not os.path.exists(there):
                findings.add(path, line, f"link to {target}, which does not exist")
            elif anchor and there.endswith(".md") and anchor not in anchors(there):
                findings.add(path, line, f"link to #{anchor}, a heading that {target or path} lacks")


def check_names(root, files, findings):
    for path in files:
        for folder in path.split("/")[:-1]:
            if folder in VAGUE_FOLDERS:
                findings.add(path, 1, f"a folder called {folder}: name it by what it does")
        if path.endswith((".png", ".svg", ".bin")):
            continue
        for number, line in enumerate(read(os.path.join(root, path)).split("\n"), 1):
            if REGISTRY_HOSTS.search(line):
                findings.add(path, number, "names a package registry's host")


def check_scripts(root, files, findings):
    for path in files:
        full = os.path.join(root, path)
        text = read(full)
        if path.endswith(".py"):
            try:
                ast.parse(text, path)
            except SyntaxError as error:
                findings.add(path, error.lineno, error.msg)
        elif path.endswith(".sh") or text.startswith("#!/usr/bin/env bash"):
            result = subprocess.run(["bash", "-n", full], capture_output=True, text=True, check=False)
            if result.returncode:
                findings.add(path, 1, result.stderr.strip())
            if text.startswith("#!") and not os.access(full, os.X_OK):
                findings.add(path, 1, "has a #! line and is not executable")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_tree.py ROOT")
    root = sys.argv[1]
    files = tree_files(root)
    findings = Findings()
    for check in (check_sizes, check_layers, check_links, check_names, check_scripts):
        check(root, files, findings)
    sys.exit(1 if findings.count else 0)


if __name__ == "__main__":
    main()
