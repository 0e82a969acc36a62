#!/usr/bin/env bash
# A job with two repositories: a backup in each, whole and with its own WAL, though the server archives to the
# first alone; and one that fails does not stop the other.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ ${HOLDFAST_TEST_STORAGE-} != s3 ]] || skip "its repositories are directories of its own"
near=$work/near far=$work/far
new_cluster
cat >"$config" <<END
stack: test
repositories:
  near: {url: $near, key_file: $work/holdfast.key}
  far: {url: $far, key_file: $work/holdfast.key}
components:
  database:
    type: postgresql
    connection: "host=$work/run port=5432 user=postgres dbname=postgres"
jobs:
  daily: {at: "0 2 * * *", backup: database, keep: 7d, repository: [near, far]}
END
slow=$work/slow.yaml # so that a backup is in the middle when it is stopped
{ cat "$config" && echo "limits: {rate: 20MiB}"; } >"$slow"
expect 0 holdfast init
start_server "$data" 5432
fill orders 60

expect 0 holdfast --json backup --job daily
same "where they went" '["near", "far"]' "$(result '[b["repository"] for b in d["backups"]]')"
for name in near far; do
  expect 0 holdfast -r "$name" --json list
  same "backups in $name" 1 "$(result 'len(d["backups"])')"
  same "their job" daily "$(result 'd["backups"][0]["job"]')"
  expect 0 holdfast -r "$name" verify --all
done

# While a backup to the second one is at work, the server archives and recycles the WAL that it needs.
packs_in_far() { find "$far/packs" -type f | wc -l; }
recycle_wal_during_a_backup() {
  local before
  fill "$1" 60
  before=$(packs_in_far)
  "${server_user[@]}" "$program" -c "$slow" -r far backup database \
    >"$work/background.out" 2>"$work/background.err" &
  backup_pid=$!
  until (($(packs_in_far) > before)); do
    kill -0 "$backup_pid" 2>/dev/null || fail "the backup ended early: $(cat "$work/background.err")"
  done
  kill -STOP "$backup_pid"
  for _ in 1 2 3; do
    sql "create table $1_$RANDOM as select generate_series(1, 200000)"
    archive_in_near
    sql "checkpoint"
  done
  kill -CONT "$backup_pid"
  status=0
  wait "$backup_pid" || status=$?
}
archive_in_near() {
  local segment
  segment=$(sql "select pg_walfile_name(pg_switch_wal())")
  wait_for "$segment in the archive" is_in_near "$segment"
}
is_in_near() { [[ $(find "$near/wal" -name "$1") ]]; }

recycle_wal_during_a_backup second
((status == 0)) || fail "the backup failed: $(cat "$work/background.err")"
same "slots that are left" 0 "$(sql "select count(*) from pg_replication_slots")"
expect 0 holdfast -r far verify --all
expect 0 holdfast -r far --json list
id=$(result 'sorted(b["id"] for b in d["backups"])[-1]')
expect 0 holdfast -r far restore database --to "$work/restored" --backup "$id"
start_restored "$work/restored" 5433
same "rows" "$(sql "select count(*) from second")" "$(PGPORT=5433 sql "select count(*) from second")"

# A server that cannot hold it: then there is no backup, and it says what is missing.
stop_server "$data"
start_server "$data" 5432 -c max_replication_slots=0 -c max_wal_senders=0
recycle_wal_during_a_backup third
same "exit status" 1 "$status"
grep -q "will not hold its WAL" "$work/background.err" || fail "no word of the slot"
grep -q "neither in the repository nor in pg_wal" "$work/background.err" ||
  fail "no word of the WAL: $(cat "$work/background.err")"

# One of the two is away.
mv "$near" "$work/away"
expect 1 holdfast --json backup --job daily
same "the one that is there" '["far"]' "$(result '[b["repository"] for b in d["backups"]]')"
same "the one that failed" '[["database", "near", "not_found"]]' \
  "$(result '[(f["component"], f["repository"], f["error"]["code"]) for f in d["failed"]]')"
expect 1 holdfast --json check
same "what is bad" '["near"]' \
  "$(result '[f["repository"] for f in d["findings"] if f["what"] == "repository" and f["verdict"] == "bad"]')"
expect 1 holdfast --json prune
same "pruned" '["far"]' "$(result '[r["repository"] for r in d["repositories"]]')"
mv "$work/away" "$near"
expect 0 holdfast --json prune
same "pruned" '["near", "far"]' "$(result '[r["repository"] for r in d["repositories"]]')"
