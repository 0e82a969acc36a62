#!/usr/bin/env bash
# A transaction or a named point as target: the backup before it is chosen, and what is not in the archived
# WAL is refused before anything is written.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
sql "create table steps (id int)"
backup
first=$backup
early=$(sql "insert into steps values (1) returning pg_current_xact_id()")
prepared=$(sql "begin; insert into steps values (2) returning pg_current_xact_id(); prepare transaction 'p'" | head -1)
sql "commit prepared 'p'"
sql "select pg_create_restore_point('early point')" >/dev/null
sql "insert into steps values (3)"
backup
second=$backup
late=$(sql "insert into steps values (4) returning pg_current_xact_id()")
sql "insert into steps values (5)"
sql "select pg_create_restore_point('late point')" >/dev/null
archive_now

steps() { sql "select count(*) from steps"; }

# restored DIR PORT BACKUP STEPS TARGET...: restores to the target and looks at what came of it.
restored() {
  local directory=$work/$1 port=$2 from=$3 rows=$4
  shift 4
  expect 0 holdfast --json restore database --to "$directory" "$@"
  same "the backup for $*" "$from" "$(result 'd["backup"]')"
  start_restored "$directory" "$port"
  same "rows after $*" "$rows" "$(PGPORT=$port steps)"
}

restored early 5440 "$first" 1 --xid "$early"
restored prepared 5441 "$first" 2 --xid "$prepared"
restored point 5442 "$first" 2 --name "early point"
restored late 5443 "$second" 4 --xid "$late"
restored late-point 5444 "$second" 5 --name "late point"

for target in "--xid $early" "--xid $prepared"; do
  # shellcheck disable=SC2086
  expect 2 holdfast restore database --to "$work/none" --backup "$second" $target
  says "before the end of $second"
done
for from in "" "--backup $first" "--backup $second"; do
  # shellcheck disable=SC2086
  expect 4 holdfast restore database --to "$work/none" $from --xid $((late + 1000))
  says "recovery window"
  # shellcheck disable=SC2086
  expect 4 holdfast restore database --to "$work/none" $from --name "no such point"
  says "no restore point \"no such point\""
done
[[ ! -e $work/none ]] || fail "a refused restore left something"
