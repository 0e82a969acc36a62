#!/usr/bin/env bash
# The server is killed, or stopped, in the middle of a backup: a failure, and no backup.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
for mode in immediate fast; do
  fill "orders_$mode" 60 # new each time: what is there already is not stored again
  begin_backup
  stop_server "$data" "$mode"
  kill -CONT "$backup_pid"
  status=0
  wait "$backup_pid" || status=$?
  same "the exit status ($mode)" 1 "$status"
  [[ -s $work/background.err ]] || fail "no word of why"
  expect 0 holdfast --json list
  same "backups ($mode)" 0 "$(result 'len(d["backups"])')"
  expect 1 holdfast --json backup database
  start_server "$data" 5432
done
backup
expect 0 holdfast verify
expect 0 holdfast restore database --to "$work/back" --backup "$backup"
start_restored "$work/back" 5440
same "the rows" "$(fingerprint)" "$(PGPORT=5440 fingerprint)"
