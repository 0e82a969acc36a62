#!/usr/bin/env bash
# Expired backups and their WAL go and free their space, also beside a running backup and after kills
# of the prune; what stays is whole, and the repository hardly larger than one that never held more.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
cat >>"$config" <<END
jobs:
  brief: {at: "0 * * * *", backup: [database], kind: full, keep: 1s}
  long: {at: "0 2 * * *", backup: [database], kind: full, keep: 1y}
wal: {keep: 1s}
END
sed -i "/^components:/i\\  other: $(repository_keys other "$work/other.key")" "$config"
expect 0 holdfast -r other init

is_old() { (($(in_repository newest) < $(date +%s) - 2)); }

# at_most_15_percent_more: than a repository that only ever held the newest state.
at_most_15_percent_more() {
  local size least
  size=$(in_repository bytes packs/) least=$(repository=other in_repository bytes packs/)
  ((size * 100 <= least * 115)) || fail "$size bytes in packs, where $least would do"
}

fill orders 30
backup --job brief
first=$backup
archive_now
before=$(archived_segments | wc -l)
sql "drop table orders"
fill trades 20
backup --job brief
second=$backup
sql "update trades set id = -id where id % 3 = 0" # so that packs are dead in part
sql "vacuum full trades"
backup --job long
third=$backup
expect 0 holdfast -r other backup database
archive_now
rows=$(sql "select count(*), sum(id) from trades")

wait_for "all of it to be older than the keep of 1s" is_old

# A plan says it all, and writes nothing.
listing=$(objects --long)
expect 0 holdfast -r main --json prune --dry-run --grace 0s
same "a dry run writes nothing" "$listing" "$(objects --long)"
same "what goes" "$first $second" "$(result '" ".join(b["id"] for b in d["backups"] if not b["keep"])')"
segments=$(result 'd["removed"]["wal"]')
((segments > 0)) || fail "no WAL would go"
window=$(result 'd["windows"]["database"]')
expect 0 holdfast -r main prune --dry-run
says "older than the"
says "job long keeps 365 days"

# The first run condemns, and a later one frees, when the grace time has passed.
packs=$(count_packs)
expect 0 holdfast -r main --json prune
same "backups removed" 2 "$(result 'd["removed"]["backups"]')"
same "WAL removed" "$segments" "$(result 'd["removed"]["wal"]')"
((before + 5 > $(archived_segments | wc -l))) || fail "no segment was removed"
(($(count_packs) >= packs)) || fail "a pack was removed before the grace time"
expect 0 holdfast verify --all
expect 0 holdfast --json list
same "what is left" "$third" "$(result '" ".join(b["id"] for b in d["backups"])')"
same "the window that was foretold" "$window" "$(result 'd["windows"]["database"]')"
expect 0 holdfast -r main prune --grace 0s
(($(count_packs) < packs)) || fail "no pack was removed"
at_most_15_percent_more
expect 0 holdfast verify --all
expect 0 holdfast -r main --json prune --grace 0s
same "nothing is left to do" 0 "$(result 'd["removed"]["packs"] + d["condemned"]["packs"]')"

expect 0 holdfast restore database --to "$work/back"
start_restored "$work/back" 5440
same "the rows" "$rows" "$(PGPORT=5440 sql "select count(*), sum(id) from trades")"
stop_server "$work/back"

# Beside a backup that is in its middle, one that needs what only an expired one has.
fill prices 70
backup --job brief
sql "drop table prices"
backup --job long
fill prices 70
begin_backup
expect 0 holdfast -r main prune --grace 0s
expect 0 holdfast -r main prune --grace 0s
kill -CONT "$backup_pid"
wait "$backup_pid" || fail "the backup failed: $(cat "$work/background.err")"
expect 0 holdfast verify --all

# Killed at any moment: nothing is damaged, and the next one completes it.
for round in 1 2 3 4 5 6; do
  sql "update prices set id = -id where id % 6 = $round"
  backup --job brief
  backup --job long
  "${server_user[@]}" "$program" -c "$config" -r main prune --grace 0s >/dev/null 2>&1 &
  prune_pid=$!
  sleep "0.0$((RANDOM % 9))$round"
  kill -9 "$prune_pid" 2>/dev/null || true
  wait "$prune_pid" 2>/dev/null || true
  expect 0 holdfast verify --all --quick
done
expect 0 holdfast -r main prune --grace 0s
expect 0 holdfast verify --all

# Two prunes exclude each other; without a job that covers it nothing goes.
sed -i '/^jobs:/,/^wal:/d' "$config"
expect 0 holdfast -r main --json prune --grace 0s
same "kept for ever" 0 "$(result 'len([b for b in d["backups"] if not b["keep"]])')"
expect 2 holdfast -r main prune --grace soon
