#!/usr/bin/env bash
# Tablespaces are restored where --tablespace says, and the original is never touched.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
as_server mkdir "$work/fast disk"
sql "create tablespace fast location '$work/fast disk'"
fill here 2
fill there 5
sql "alter table there set tablespace fast"
rows=$(fingerprint)
backup
archive_now

expect 1 holdfast restore database --to "$work/back"
says "$work/fast disk"
[[ ! -e $work/back/PG_VERSION ]] || fail "something was written"

expect 0 holdfast restore database --to "$work/back" --tablespace "$work/fast disk=$work/moved"
expect 0 pg pg_verifybackup --no-parse-wal "$work/back"
start_restored "$work/back" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
same "the place" "$work/moved" "$(PGPORT=5440 sql "select pg_tablespace_location(oid)
  from pg_tablespace where spcname = 'fast'")"
PGPORT=5440 sql "truncate there"
same "the original's rows" "$rows" "$(fingerprint)"

# Without the original in the way, no mapping is needed.
stop_server "$work/back"
stop_server "$data"
mv "$work/fast disk" "$work/lost disk"
expect 0 holdfast restore database --to "$work/again"
start_restored "$work/again" 5441
same "the rows again" "$rows" "$(PGPORT=5441 fingerprint)"
