#!/usr/bin/env bash
# A full backup, restored, is judged good by PostgreSQL's own tools: pg_verifybackup, pg_amcheck,
# pg_checksums. Without a target it is the end of the WAL, with --backup the end of that backup.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack --data-checksums
pgbench -i -s 5 -q >/dev/null 2>&1
fill documents 20
sql "create index on documents (data); create extension amcheck"

expect 3 holdfast check
says "there is no backup yet"
before=$(fingerprint)
backup
expect 0 holdfast check
pgbench -n -c 2 -t 500 >/dev/null 2>&1
after=$(fingerprint)
[[ $before != "$after" ]] || fail "the load changed nothing"
archive_now

expect 0 holdfast --json restore database --to "$work/latest"
same "the backup" "$backup" "$(result 'd["backup"]')"
same "nothing was started" null "$(result 'd["reached"]')"
expect 0 pg pg_verifybackup --no-parse-wal "$work/latest"
start_restored "$work/latest" 5440
same "the rows at the end of the WAL" "$after" "$(PGPORT=5440 fingerprint)"
PGPORT=5440 expect 0 pg pg_amcheck --all --heapallindexed
PGPORT=5440 sql "insert into documents values (0, 'new'); checkpoint"
stop_server "$work/latest"
expect 0 pg pg_checksums --check -D "$work/latest"

expect 0 holdfast restore database --to "$work/exact" --backup "$backup"
expect 0 pg pg_verifybackup --no-parse-wal "$work/exact"
start_restored "$work/exact" 5441
same "the rows at the end of the backup" "$before" "$(PGPORT=5441 fingerprint)"

expect 0 holdfast verify
expect 0 holdfast --json list
same "verified" true "$(result 'd["backups"][0]["verified"] is not None')"
same "the window" true "$(result 'd["windows"]["database"]["continuous"]')"
