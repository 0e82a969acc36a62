#!/usr/bin/env bash
# wal push, fetch and list, with the exit statuses that PostgreSQL acts on.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill notes 1
archive_now
segment=$(sql "select last_archived_wal from pg_stat_archiver")
stop_server "$data"

expect 0 holdfast wal fetch "$segment" "$work/fetched"
same "its size" 16777216 "$(stat -c %s "$work/fetched")"
[[ -e $data/pg_wal/$segment ]] && expect 0 cmp "$data/pg_wal/$segment" "$work/fetched"

# Again the same: done. The same name with other content: an error, and what is there stays.
as_server mkdir "$work/again"
as_server mv "$work/fetched" "$work/again/$segment"
expect 0 holdfast wal push "$work/again/$segment"
printf 'x' | as_server dd of="$work/again/$segment" bs=1 seek=9000000 conv=notrunc status=none
expect 1 holdfast --json wal push "$work/again/$segment"
result 'd["error"]["message"]' | grep -q "$segment" || fail "the error does not name $segment"
expect 0 holdfast wal fetch "$segment" "$work/fetched"
cmp -s "$work/fetched" "$work/again/$segment" && fail "the archived segment was replaced"

# What is not there is 4 and never more than 125, which would stop a recovery.
expect 4 holdfast wal fetch 0000000900000000000000FF "$work/none"
expect 4 holdfast wal fetch 00000009.history "$work/none"
[[ ! -e $work/none ]] || fail "a file was made of nothing"

# What is no WAL is refused; a file that is missing is an error.
echo nonsense | as_server tee "$work/again/000000010000000000000077" >/dev/null
expect 1 holdfast wal push "$work/again/000000010000000000000077"
expect 1 holdfast wal push "$work/again/000000010000000000000078"

# A gap is seen.
start_server "$data" 5432
backup
for round in 1 2 3; do
  sql "insert into notes values (0, 'round $round')"
  archive_now
done
expect 0 holdfast wal list
victim=$(archived_segments | tail -n 2 | head -n 1)
remove_object "$victim"
expect 3 holdfast --json wal list
result 'd' | grep -q "${victim##*/}" || fail "the gap is not named"
