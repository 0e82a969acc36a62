# Sourced by every end-to-end test: the words that they are written in. A test has a directory of its own
# ($work) with its servers and repository, all stopped and removed at the end; one that fails leaves the
# directory and says where it is.
set -euo pipefail
# shellcheck source=../../scripts/throwaway.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/throwaway.sh"
test_name=$(basename "$0" _test.sh)

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  printf '\n*** SKIPPED: %s: %s ***\n\n' "$test_name" "$*" >&2
  exit 77
}

end() {
  local status=$?
  trap - EXIT
  trap '' INT TERM
  set +e
  [[ ${work-} ]] || exit "$status"
  if ((status == 0 || status == 77)); then
    stop_servers
    if mountpoint -q "$work/small"; then umount "$work/small"; fi
    remove_work
  else
    # shellcheck disable=SC2046
    kill -9 $(jobs -p) 2>/dev/null
    stop_servers
    for file in out err; do
      [[ -s $work/$file ]] && echo "--- the last std$file:" >&2 && tail -n 20 "$work/$file" >&2
    done
    echo "--- everything is left in $work" >&2
  fi
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_work "$test_name"
repo=$work/repo
config=$work/holdfast.yaml
data=$work/data # of the main cluster

# ---- What is expected ----------------------------------------------------------------------------

# expect STATUS COMMAND...: runs it and holds it to its exit status; its output is in $work/out, err.
expect() {
  local want=$1 got=0
  shift
  "$@" >"$work/out" 2>"$work/err" || got=$?
  ((got == want)) || fail "«$*» exited with $got, not $want"
}

# same WHAT EXPECTED ACTUAL
same() {
  [[ $2 == "$3" ]] || fail "$1: expected «$2», got «$3»"
}

# says TEXT: the last command that expect ran said so, on stdout or stderr, in capitals or not.
says() {
  grep -qiF -- "$1" "$work/out" "$work/err" || fail "nothing was said of «$1»"
}

# result EXPRESSION: a Python expression over d, the JSON document that the last command printed.
result() { json "$work/out" "$1"; }

# ---- The stack under test ------------------------------------------------------------------------

holdfast() { as_server "$program" -c "$config" "$@"; }

# new_cluster [initdb's options...]: makes and configures $data, starts nothing.
new_cluster() {
  initialise "$data" "$@" <<END
fsync = off                       # of the source only: the tests are not about its durability
shared_buffers = 32MB
max_wal_size = 256MB
max_prepared_transactions = 5
jit = off
archive_mode = on
archive_command = '$program -c $config wal push %p'
END
}

write_config() {
  cat >"$config" <<END
stack: test
repositories:
  main:
    url: $repo
    key_file: $work/holdfast.key
components:
  database:
    type: postgresql
    connection: "host=$work/run port=5432 user=postgres dbname=postgres"
END
}

# new_stack [initdb's options...]: a running cluster that archives, an empty repository.
new_stack() {
  new_cluster "$@"
  write_config
  expect 0 holdfast init
  start_server "$data" 5432
}

# start_restored DIR PORT: beside the others, without archiving, and waits for the end of recovery.
start_restored() {
  start_server "$1" "$2" -c archive_mode=off
  PGPORT=$2 wait_for "the end of recovery" is_true "not pg_is_in_recovery()"
}

# Ends the WAL segment and waits until it is in the repository.
archive_now() {
  local segment
  segment=$(sql "select pg_walfile_name(pg_switch_wal())")
  wait_for "$segment in the archive" is_archived "$segment"
}

# The archived segments of all timelines, oldest first.
archived_segments() { find "$repo/wal" -type f -name '0000*' ! -name '*.*' | sort; }

fill() { # fill TABLE MEGABYTES: rows that do not compress
  sql "create table $1 as select g as id, sha512(('$1' || g)::bytea) || sha512(g::text::bytea) as data
       from generate_series(1, $2 * 6000) g"
}

# backup [ARGUMENTS...]: a backup of the database that must succeed; its id is in $backup.
backup() {
  expect 0 holdfast --json backup database "$@"
  backup=$(result 'd["backups"][0]["id"]')
}

# start_backup: one in the background; its process id is in $backup_pid.
start_backup() {
  "${server_user[@]}" "$program" -c "$config" backup database \
    >"$work/background.out" 2>"$work/background.err" &
  backup_pid=$!
}

count_packs() { { find "$repo/packs" -type f 2>/dev/null || true; } | wc -l; }

# begin_backup: start_backup, and stops it (SIGSTOP) once it has stored something. The cluster needs some
# 60 MB that are not in the repository and do not compress, so that this is in the middle.
begin_backup() {
  local before
  before=$(count_packs)
  start_backup
  until (($(count_packs) > before)); do
    kill -0 "$backup_pid" 2>/dev/null || fail "the backup ended early: $(cat "$work/background.err")"
  done
  kill -STOP "$backup_pid"
}
