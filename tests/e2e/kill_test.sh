#!/usr/bin/env bash
# SIGKILL in the middle of a backup, at random moments: what was there stays good, and the next run
# succeeds.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill orders 80
rows=$(fingerprint)
start=$(date +%s%N)
backup
took_ms=$((($(date +%s%N) - start) / 1000000))
good=("$backup")

for round in 1 2 3 4 5 6; do
  sql "update orders set id = -id where id % 7 = $round"
  start_backup
  delay_ms=$((RANDOM * took_ms / 32768))
  sleep "$(printf '%d.%03d' $((delay_ms / 1000)) $((delay_ms % 1000)))"
  kill -9 "$backup_pid" 2>/dev/null || true
  wait "$backup_pid" 2>/dev/null || true
  expect 0 holdfast verify --all --quick
done

backup
good+=("$backup")
expect 0 holdfast verify --all
expect 0 holdfast --json list
for id in "${good[@]}"; do
  same "$id is listed" true "$(result "'$id' in [b['id'] for b in d['backups']]")"
done

expect 0 holdfast restore database --to "$work/old" --backup "${good[0]}"
start_restored "$work/old" 5440
same "the rows of the first" "$rows" "$(PGPORT=5440 fingerprint)"
expect 0 holdfast restore database --to "$work/new" --backup "${good[1]}"
start_restored "$work/new" 5441
same "the rows of the last" "$(fingerprint)" "$(PGPORT=5441 fingerprint)"
