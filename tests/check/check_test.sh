#!/usr/bin/env bash
# scripts/check_tree.py finds what it is there to find, and nothing in a tree that is in order.
set -euo pipefail
checker=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/scripts/check_tree.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A small tree that is in order: two layers, a document, a function of 69 lines.
fresh_tree() {
  rm -rf "$work/tree"
  mkdir -p "$work/tree"/{src/base,src/upper,docs}
  cd "$work/tree"
  printf 'add_subdirectory(src/base)\nadd_subdirectory(src/upper)\n' >CMakeLists.txt
  printf '#pragma once\n' >src/base/low.h
  {
    printf '#include "base/low.h"\n\nnamespace a {\n\n'
    long_function 69
    printf '\n}  // namespace a\n'
  } >src/upper/high.cc
  printf '# Title\n\n[here](#title) and [there](docs/other.md#a-heading)\n' >README.md
  printf '## A heading\n' >docs/other.md
}

# A function of $1 lines, with things in it that look like braces and are none.
long_function() {
  printf 'Thing::Thing(int a) : a_{a}, b_(1'"'"'000) {\n  // }\n  use("}");\n  use('"'}'"');\n'
  for ((i = 5; i < $1; i++)); do printf '  step();\n'; done
  printf '}\n'
}

passes() {
  python3 "$checker" . 2>"$work/output" || {
    echo "FAILED: a tree in order was refused:" >&2
    cat "$work/output" >&2
    exit 1
  }
}

finds() { # finds TEXT: the check fails, and says this
  if python3 "$checker" . 2>"$work/output"; then
    echo "FAILED: not found: $1" >&2
    exit 1
  fi
  grep -qF -- "$1" "$work/output" || {
    echo "FAILED: expected «$1», got:" >&2
    cat "$work/output" >&2
    exit 1
  }
}

fresh_tree
passes

fresh_tree
printf '#include "upper/high.h"\n' >src/base/low.cc
finds 'src/base/low.cc:1: base includes upper, a layer above it'

fresh_tree
printf '#include "high.h"\n' >src/upper/other.cc
finds 'src/upper/other.cc:1: "high.h" is not in a layer'

fresh_tree
mkdir src/stray && printf '\n' >src/stray/file.cc
finds 'src/stray is no layer'

fresh_tree
long_function 70 >src/upper/long.cc
finds 'src/upper/long.cc:1: Thing::Thing: 70 lines'

fresh_tree
{ printf 'class Thing {\n public:\n  int count() const { return 1; }\n\n'; long_function 75; printf '};\n'; } \
  >src/upper/long.h
finds 'src/upper/long.h:5: Thing::Thing: 75 lines'

fresh_tree
printf 'const int kTable[] = {\n' >src/upper/table.cc
for ((i = 0; i < 200; i++)); do printf '    1,\n'; done >>src/upper/table.cc
printf '};\n' >>src/upper/table.cc
passes
for ((i = 0; i < 300; i++)); do printf '// line\n'; done >>src/upper/table.cc
finds 'a file of its kind stays under 500'

fresh_tree
for ((i = 0; i < 200; i++)); do printf '// line\n'; done >src/base/wide.h
finds 'a file of its kind stays under 200'

fresh_tree
printf '[gone](docs/gone.md)\n' >>README.md
finds 'README.md:4: link to docs/gone.md, which does not exist'

fresh_tree
printf '[gone](docs/other.md#nothing)\n' >>README.md
finds 'link to #nothing'

fresh_tree
mkdir -p src/base/utils && printf '\n' >src/base/utils/file.h
finds 'a folder called utils'

fresh_tree
printf 'get it from https://%s.org/simple\n' pypi >docs/other.md
finds "names a package registry's host"

fresh_tree
printf '#!/usr/bin/env bash\nif\n' >run && chmod +x run
finds 'run:1:'

echo "check_tree.py finds what it should"
