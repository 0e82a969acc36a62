#!/usr/bin/env bash
# restore --delta, over what is there: damaged, used by a server meanwhile, half restored by a run that was
# killed. It ends as a restore into an empty directory does, and never touches what is not its own.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
as_server mkdir "$work/fast disk"
sql "create tablespace fast location '$work/fast disk'"
fill orders 60
fill there 5
sql "alter table there set tablespace fast"
relation=$(sql "select pg_relation_filepath('orders')")
backup
sql "delete from orders where id % 100 = 0; insert into orders select id + 1000000, data from there"
archive_now
rows=$(fingerprint)
back=$work/back moved=$work/moved
delta() { holdfast --json restore database --to "$back" --tablespace "$work/fast disk=$moved" --delta "$@"; }

# judge PORT: what is there is the backup, and a server that starts on it has all rows; it is left running.
judge() {
  expect 0 pg pg_verifybackup --no-parse-wal "$back"
  start_restored "$back" "$1"
  same "the rows" "$rows" "$(PGPORT=$1 fingerprint)"
}

# ---- Into nothing, and again over what is right --------------------------------------------------

expect 0 delta
total=$(result 'd["bytes"]')
expect 0 delta
(($(result 'd["bytes_written"]') < 100000)) || fail "much was written where nothing differs"
judge 5440

# ---- In use: refused; its own tablespace too -----------------------------------------------------

expect 1 delta
says "in use"
expect 1 holdfast restore database --to "$data" --delta
says "in use"
expect 1 holdfast restore database --to "$work/other" --delta # the tablespace is the original's
says "$work/fast disk"
as_server mkdir "$work/foreign"
as_server touch "$work/foreign/precious"
expect 1 holdfast restore database --to "$work/foreign" --tablespace "$work/fast disk=$work/new" --delta
says "neither a PostgreSQL cluster"
expect 1 holdfast restore database --to "$back" --tablespace "$work/fast disk=$work/foreign" --delta
same "what is there" precious "$(ls -A "$work/foreign")"
is_true true || fail "the server has gone"
same "the original's rows" "$rows" "$(fingerprint)"

# ---- A server wrote to it, and crashed -----------------------------------------------------------

PGPORT=5440 sql "update orders set id = -id where id % 3 = 0; create table junk as select * from orders limit 1000;
  create table more tablespace fast as select * from junk; checkpoint"
stop_server "$back" immediate
[[ -e $back/postmaster.pid ]] || as_server sh -c "echo 999999999 >'$back/postmaster.pid'"
as_server dd if=/dev/urandom of="$back/$relation" bs=8192 seek=100 count=3 conv=notrunc status=none
as_server rm "$back/global/pg_filenode.map"
as_server truncate -s 12345 "$back/pg_xact/0000"
as_server ln -s "$work/foreign" "$back/pg_tblspc/99999"
as_server mkdir "$moved/PG_99_209901011"
as_server touch "$moved/PG_99_209901011/precious"
expect 0 delta
(($(result 'd["bytes_written"]') < total)) || fail "nothing was kept"
says "$work/foreign"
same "what is elsewhere" precious "$(ls -A "$work/foreign")"
same "another version's tablespace" precious "$(ls -A "$moved/PG_99_209901011")"
rm -r "$moved/PG_99_209901011" # pg_verifybackup would count it to the backup
[[ ! -e $back/pg_tblspc/99999 ]] || fail "a link that does not belong is there"
judge 5441
stop_server "$back"

# ---- Killed at any moment, and run again ---------------------------------------------------------

for round in 1 2 3 4 5 6; do
  as_server dd if=/dev/urandom of="$back/$relation" bs=8192 seek=$((round * 50)) count=1000 conv=notrunc status=none
  as_server rm -rf "$back/base/1"
  "${server_user[@]}" "$program" -c "$config" restore database --to "$back" \
    --tablespace "$work/fast disk=$moved" --delta >"$work/killed.out" 2>&1 &
  killed=$!
  sleep "0.$(printf '%03d' $((RANDOM % 600)))"
  kill -9 "$killed" 2>/dev/null || true
  if wait "$killed" 2>/dev/null; then continue; fi
  if [[ -e $back/global/pg_control ]]; then # before its first change, or after its last
    [[ -e $back/base/1 ]] || expect 0 delta
  else
    pg pg_ctl -D "$back" -w -t 5 start >/dev/null 2>&1 && fail "half a restore can be started"
  fi
done
expect 0 delta
judge 5442
stop_server "$back"

# ---- Whole tablespace gone, the plain restore still refuses, --start works -------------------------

as_server rm -rf "$moved"
expect 1 holdfast restore database --to "$back" --tablespace "$work/fast disk=$moved"
says "--delta"
stop_server "$data"
as_server sh -c "echo 999999999 >'$work/run/.s.PGSQL.5432.lock'" # as a server that was killed leaves it
expect 0 delta --start
same "the port" 5432 "$(result 'd["port"]')"
same "the rows of the server that was started" "$rows" \
  "$(PGPORT=$(result 'd["port"]') fingerprint)"
