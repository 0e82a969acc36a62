#!/usr/bin/env bash
# A promotion makes a new timeline; a restore follows it, or not, as asked; a restored cluster is backed
# up and restored again.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

values() { sql "select string_agg(name, ' ' order by name) from steps"; }

new_stack
sql "create table steps (name text); insert into steps values ('1 before')"
backup
sql "insert into steps values ('2 after')"
archive_now
stop_server "$data"

# Restored in the place of the old server: it archives, on timeline 2.
expect 0 holdfast --json restore database --to "$work/second" --start
same "the rows" "1 before 2 after" "$(values)"
sql "insert into steps values ('3 on two')"
archive_now
archived() { holdfast --json wal list >"$work/out" && result 'd' | grep -q 00000002.history; }
wait_for "the history file in the archive" archived

# The end of the newest timeline, across the switch, from the backup before it.
expect 0 holdfast restore database --to "$work/across" --timeline latest
start_restored "$work/across" 5440
same "the rows across" "1 before 2 after 3 on two" "$(PGPORT=5440 values)"

# The old timeline alone.
expect 0 holdfast restore database --to "$work/old" --timeline 1
start_restored "$work/old" 5441
same "the rows on the old timeline" "1 before 2 after" "$(PGPORT=5441 values)"

# A backup of the restored cluster, and a restore of that.
backup
same "its timeline" 2 "$(result 'd["backups"][0]["postgresql"]["timeline"]')"
sql "insert into steps values ('4 more')"
archive_now
expect 0 holdfast --json restore database --to "$work/third"
same "the newest backup is taken" "$backup" "$(result 'd["backup"]')"
start_restored "$work/third" 5442
same "the rows of a restore of a restore" "1 before 2 after 3 on two 4 more" "$(PGPORT=5442 values)"
