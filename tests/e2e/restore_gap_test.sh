#!/usr/bin/env bash
# WAL that a restore will need and that is missing is named before anything is written.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
sql "create table steps (id int)"
backup
for round in 1 2 3 4; do
  sql "insert into steps values ($round)"
  archive_now
done
moment=$(server_time)
sql "insert into steps values (5)"
archive_now

mapfile -t segments < <(archived_segments)
missing=${segments[-3]}
save_object "$missing" "$work/saved"
remove_object "$missing"
expect 5 holdfast --json restore database --to "$work/back" --at "$moment"
says "${missing##*/}"
[[ ! -e $work/back ]] || fail "something was written"
expect 0 holdfast verify "$backup" # which does not need it
expect 0 holdfast restore database --to "$work/back" --backup "$backup"

put_back "$missing" "$work/saved"
expect 0 holdfast restore database --to "$work/whole" --at "$moment"
start_restored "$work/whole" 5440
same "the rows" 4 "$(PGPORT=5440 sql "select count(*) from steps")"
