#!/usr/bin/env bash
# WAL that is damaged, or a repository that cannot be read, stops a recovery: the server must not
# promote with less than it was asked for.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
sql "create table steps (id int)"
backup
for round in 1 2 3 4; do
  sql "insert into steps values ($round)"
  archive_now
done
expect 0 holdfast restore database --to "$work/damaged"
expect 0 holdfast restore database --to "$work/unreadable"
expect 0 holdfast restore database --to "$work/good"

never_promoted() { # never_promoted DIR: started, it stops and says so
  pg pg_ctl -D "$1" -l "$1.log" -o "-p 5440 -c archive_mode=off" -w -t 20 start >/dev/null 2>&1 || true
  pg pg_ctl -D "$1" status >/dev/null && fail "it runs"
  grep -q 'selected new timeline' "$1.log" && fail "it promoted"
  grep -q 'FATAL:  could not restore file' "$1.log" || fail "it stopped for another reason"
}

mapfile -t segments < <(archived_segments)
victim=${segments[-2]}
save_object "$victim" "$work/saved"
damage_object "$victim" spoil
never_promoted "$work/damaged"
put_back "$victim" "$work/saved"

repository_goes_away
never_promoted "$work/unreadable"
repository_comes_back

start_restored "$work/good" 5441
same "the rows" 4 "$(PGPORT=5441 sql "select count(*) from steps")"
# The one that stopped goes on where it was, once the repository is back.
start_restored "$work/unreadable" 5442
same "the rows after all" 4 "$(PGPORT=5442 sql "select count(*) from steps")"
