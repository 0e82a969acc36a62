#!/usr/bin/env bash
# With --json every command prints exactly one JSON document on stdout, also when it fails; without,
# errors go to stderr alone.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill orders 1
backup
archive_now
segment=$(sql "select last_archived_wal from pg_stat_archiver")

for arguments in "init" "check" "list" "list database" "list --points" "show $backup" "verify" \
  "verify --all --quick" "wal list" "wal push $data/pg_wal/$segment" "wal fetch $segment $work/fetched" \
  "prune --dry-run" "prune" "key list" "version" "restore database --to $work/back" "cat $backup" "diff $backup $backup" \
  "dump postgres" "restore database.postgres --to $work/dump" "setup --print $work/run"; do
  # shellcheck disable=SC2086
  expect 0 holdfast --json $arguments
  result 'd' >/dev/null
done

expect 0 holdfast --json backup

fails() { # fails STATUS CODE ARGUMENTS...
  local status=$1 code=$2
  shift 2
  expect "$status" holdfast --json "$@"
  same "the code of «$*»" "$code" "$(result 'd["error"]["code"]')"
  [[ $(result 'd["error"]["message"]') ]] || fail "no message"
  expect "$status" holdfast "$@"
  [[ ! -s $work/out && -s $work/err ]] || fail "«$*» must print its error on stderr"
}
fails 2 usage bogus
fails 2 usage list --bogus
fails 2 usage backup nosuch
fails 2 usage restore database
fails 2 usage restore database --to "$work/x" --at yesterday-ish
fails 4 not_found show database-20010101T000000Z
expect 2 holdfast --json cat "$backup" PG_VERSION
same "a file is no JSON" usage "$(result 'd["error"]["code"]')"
fails 2 usage diff "$backup"
fails 1 unavailable dump no-such-database
fails 2 usage restore database --table orders
fails 4 not_found wal fetch 0000000900000000000000FF "$work/x"
fails 1 refused restore database --to "$work/back"
stop_server "$data"
expect 1 holdfast --json backup database
same "one that failed" 1 "$(result 'len(d["failed"]) if "failed" in d else "error" in d and 1')"
