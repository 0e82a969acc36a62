#!/usr/bin/env bash
# Five moments under pgbench's load, noted to the microsecond, and each brought back exactly.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack --data-checksums
pgbench -i -s 3 -q >/dev/null 2>&1
pgbench -n -c 2 -T 300 >"$work/load.log" 2>&1 &
load=$!

note_moment() {
  pause_load "$load"
  rows+=("$(fingerprint)")
  moments+=("$(server_time)")
  kill -CONT "$load"
}

more_history() { is_true "count(*) > $1 from pgbench_history"; }

moments=() rows=()
wait_for "some load" more_history 100
backup
for moment in 1 2 3 4 5; do
  note_moment
  count=$(sql "select count(*) from pgbench_history")
  wait_for "more load" more_history "$((count + 300))"
done
kill "$load"
wait "$load" || true
archive_now
stop_server "$data"

for moment in 4 1 3 0; do
  expect 0 holdfast restore database --to "$work/at$moment" --at "${moments[moment]}"
  start_restored "$work/at$moment" "544$moment"
  same "the rows at ${moments[moment]}" "${rows[moment]}" "$(PGPORT=544$moment fingerprint)"
  PGPORT=544$moment same "the sums agree" t "$(PGPORT=544$moment sql "select
    (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches) and
    (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)")"
  stop_server "$work/at$moment" immediate
done

expect 0 holdfast --json restore database --to "$work/at2" --at "${moments[2]}" --start
reached=$(result 'd["reached"]["time"]')
[[ $reached < "${moments[2]}" || $reached == "${moments[2]}" ]] || fail "reached $reached"
same "the rows at ${moments[2]}" "${rows[2]}" "$(fingerprint)"

expect 4 holdfast --json restore database --to "$work/early" --at 2001-01-01
same "the error" not_found "$(result 'd["error"]["code"]')"
expect 4 holdfast restore database --to "$work/late" --at 2999-01-01
[[ ! -e $work/early && ! -e $work/late ]] || fail "something was written"
