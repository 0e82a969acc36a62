#!/usr/bin/env bash
# Restores to an LSN, a transaction and a named point; --action pause and shutdown.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
sql "create table steps (id int)"
backup
sql "insert into steps values (1)"
lsn=$(sql "select pg_current_wal_insert_lsn()")
sql "insert into steps values (2)"
xid=$(sql "insert into steps values (3) returning pg_current_xact_id()")
sql "insert into steps values (4)"
sql "select pg_create_restore_point('before the mess')" >/dev/null
sql "insert into steps values (5)"
archive_now

steps() { sql "select count(*) from steps"; }

expect 0 holdfast restore database --to "$work/lsn" --lsn "$lsn"
start_restored "$work/lsn" 5440
same "up to the LSN" 1 "$(PGPORT=5440 steps)"

expect 0 holdfast restore database --to "$work/xid" --xid "$xid"
start_restored "$work/xid" 5441
same "up to the transaction" 3 "$(PGPORT=5441 steps)"

expect 0 holdfast restore database --to "$work/name" --name "before the mess" --action pause
start_server "$work/name" 5442 -c archive_mode=off
PGPORT=5442 wait_for "the pause" is_true "pg_get_wal_replay_pause_state() = 'paused'"
same "up to the name" 4 "$(PGPORT=5442 steps)"
same "still in recovery" t "$(PGPORT=5442 sql "select pg_is_in_recovery()")"

expect 0 holdfast restore database --to "$work/stop" --name "before the mess" --action shutdown
pg pg_ctl -D "$work/stop" -l "$work/stop.log" -o "-p 5443 -c archive_mode=off" -w start \
  >/dev/null 2>&1 || true
is_down() { ! pg pg_ctl -D "$work/stop" status; }
wait_for "the shutdown" is_down
grep -q 'shutdown at recovery target' "$work/stop.log" || fail "no shutdown at the target"
