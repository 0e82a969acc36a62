#!/usr/bin/env bash
# A page whose checksum is wrong on the disk: the backup is done, exit 3, and names relation and block.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack --data-checksums
fill orders 5
fill trades 5
sql checkpoint
path=$(sql "select pg_relation_filepath('orders')")
stop_server "$data"
printf 'broken' | as_server dd of="$data/$path" bs=1 seek=$((8192 * 17 + 4000)) conv=notrunc status=none
start_server "$data" 5432

expect 3 holdfast --json backup database
backup=$(result 'd["backups"][0]["id"]')
result 'd' >"$work/document"
grep -q "$path" "$work/document" || fail "the file is not named"
grep -q 'block 17' "$work/document" || fail "the block is not named"
expect 3 holdfast --json backup database
expect 0 holdfast show "$backup"
says "block 17"
expect 0 holdfast verify "$backup"

expect 0 holdfast restore database --to "$work/back" --backup "$backup"
start_restored "$work/back" 5440
same "the healthy table" "$(sql "select count(*), sum(id) from trades")" \
  "$(PGPORT=5440 sql "select count(*), sum(id) from trades")"
expect 0 cmp "$data/$path" "$work/back/$path"
