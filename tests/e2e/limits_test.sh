#!/usr/bin/env bash
# limits: rate holds a backup to it, low_priority lets others go first; a backup that waits can be stopped.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill big 20
sql "checkpoint"
size=$(sql "select sum(pg_database_size(oid)) from pg_database")

cat >>"$config" <<END
limits: {workers: 2, rate: 16MiB}
END
before=$(date +%s%N)
backup
took=$((($(date +%s%N) - before) / 1000000))
# The first burst is free, and the last piece of each worker is not waited for.
least=$(((size - (9 << 20)) * 1000 / (16 << 20) - 250))
((took >= least)) || fail "$size bytes at 16 MiB/s took $took ms, not $least or more"

sed -i 's/^limits:.*/limits: {rate: 1MiB, low_priority: true}/' "$config"
holdfast backup database >"$work/background.out" 2>"$work/background.err" &
backup_pid=$!
reader() { pgrep -n -f "^$program -c $config backup"; }
is_reading() { [[ $(sql "select count(*) from pg_stat_activity where application_name = 'holdfast'") == 1 ]]; }
wait_for "the backup" is_reading
same "its nice value" 10 "$(ps -o ni= -p "$(reader)" | tr -d ' ')"
kill -TERM "$(reader)"
status=0
wait "$backup_pid" || status=$?
same "the exit status of the backup that was stopped" 1 "$status"
grep -q interrupted "$work/background.err" || fail "the backup did not say that it was interrupted"
