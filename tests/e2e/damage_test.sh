#!/usr/bin/env bash
# Damage in the repository is found by verify and named; backups that do not need it still restore.
# (Every kind of damage to every kind of object: the tests of repository/.)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

found() { # found OBJECT: verify says that it is damaged
  expect 5 holdfast --json verify --all
  same "$1 is named" true "$(result "'$1' in [x['object'] for x in d['damaged']]")"
}

damage() { # damage HOW OBJECT: found, and gone once the object is back
  save_object "$2" "$work/saved"
  if [[ $1 == rm ]]; then remove_object "$2"; else damage_object "$2" "$1"; fi
  found "$2"
  put_back "$2" "$work/saved"
}

new_stack
fill orders 20
rows=$(fingerprint)
backup
first=$backup
packs_before=$(objects packs/)
archive_now
fill trades 20
backup
expect 0 holdfast verify --all

record=backups/database/$backup
new_pack=$(comm -13 <(echo "$packs_before") <(objects packs/) | while read -r pack; do
  echo "$(in_repository bytes "$pack") $pack"
done | sort -n | tail -n 1 | cut -d ' ' -f 2)
for how in rm flip cut; do
  damage "$how" "$new_pack"
done
damage flip "$record"
damage flip "$(objects index/ | head -n 1)"
damage cut format
expect 0 holdfast verify --all

# With a pack of the second gone, the first is what it was.
remove_object "$new_pack"
expect 5 holdfast --json verify "$backup"
expect 0 holdfast verify "$first"
expect 5 holdfast verify "$backup" --quick
expect 5 holdfast --json restore database --to "$work/second" --backup "$backup"
same "the error" damaged "$(result 'd["error"]["code"]')"
[[ ! -e $work/second/global/pg_control ]] || fail "half a cluster can be started"
expect 0 holdfast restore database --to "$work/first" --backup "$first"
start_restored "$work/first" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
