#!/usr/bin/env bash
# Damage in the repository is found by verify and named; backups that do not need it still restore.
# (Every kind of damage to every kind of object: the tests of repository/.)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

flip() { # flip FILE: one bit in its middle
  python3 - "$1" <<'END'
import os, sys
size = os.path.getsize(sys.argv[1])
with open(sys.argv[1], "r+b") as file:
    file.seek(size // 2)
    byte = file.read(1)[0]
    file.seek(size // 2)
    file.write(bytes([byte ^ 1]))
END
}

found() { # found OBJECT: verify says that it is damaged
  expect 5 holdfast --json verify --all
  same "$1 is named" true "$(result "'$1' in [x['object'] for x in d['damaged']]")"
}

damage() { # damage COMMAND OBJECT: found, and gone once the object is back
  cp -p "$repo/$2" "$work/saved"
  chmod u+w "$repo/$2"
  "$1" "$repo/$2"
  found "$2"
  rm -f "${repo:?}/$2"
  cp -p "$work/saved" "$repo/$2"
}

cut() { truncate -s -1 "$1"; }

new_stack
fill orders 20
rows=$(fingerprint)
backup
first=$backup
packs_before=$(cd "$repo" && find packs -type f | sort)
archive_now
fill trades 20
backup
expect 0 holdfast verify --all

cd "$repo"
record=backups/database/$backup
new_pack=$(comm -13 <(echo "$packs_before") <(find packs -type f | sort) |
  xargs ls -S | head -n 1)
cd "$work"
for command in rm flip cut; do
  damage "$command" "$new_pack"
done
damage flip "$record"
damage flip "$(cd "$repo" && find index -type f | head -n 1)"
damage cut format
expect 0 holdfast verify --all

# With a pack of the second gone, the first is what it was.
rm -f "$repo/$new_pack"
expect 5 holdfast --json verify "$backup"
expect 0 holdfast verify "$first"
expect 5 holdfast verify "$backup" --quick
expect 5 holdfast --json restore database --to "$work/second" --backup "$backup"
same "the error" damaged "$(result 'd["error"]["code"]')"
[[ ! -e $work/second/global/pg_control ]] || fail "half a cluster can be started"
expect 0 holdfast restore database --to "$work/first" --backup "$first"
start_restored "$work/first" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
