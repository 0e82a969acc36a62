# Sourced by every end-to-end test: the words that they are written in. A test has a directory of its own
# ($work) with its servers and repository, all stopped and removed at the end; one that fails leaves the
# directory and says where it is.
#
# HOLDFAST_TEST_STORAGE=s3 puts the repositories into a bucket of an object store that the test starts;
# what a test does to them from outside it says in words that are right for both.
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
    save_store
    for file in out err; do
      [[ -s $work/$file ]] && echo "--- the last std$file:" >&2 && tail -n 20 "$work/$file" >&2
    done
    echo "--- everything is left in $work" >&2
  fi
  exit "$status"
}
# What was in the bucket, for who looks into it; the store keeps nothing.
save_store() {
  [[ -e $work/store ]] || return 0
  "$project/scripts/object_store" up "$work/store" 2>/dev/null
  timeout 60 python3 -B "$project/tests/s3/objects.py" "s3://$bucket" save "$work/bucket"
  stop_store
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_work "$test_name"
storage=${HOLDFAST_TEST_STORAGE:-directory}
case $storage in directory | s3) ;; *) fail "there is no test storage called $storage" ;; esac
repo=$work/repo # where the repository is a directory
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

# location [NAME]: of a repository.
location() {
  case $storage:${1-main} in
    directory:main) echo "$repo" ;;
    directory:*) echo "$work/$1" ;;
    s3:*) echo "s3://$bucket/${1-main}" ;;
  esac
}

# repository_keys [NAME [KEY_FILE]]: what stands under its name in the configuration.
repository_keys() {
  local name=${1-main}
  printf '{url: "%s", key_file: %s' "$(location "$name")" "${2:-$work/holdfast.key}"
  [[ $storage == directory ]] ||
    printf ', endpoint: "%s", region: %s, credentials: {file: %s}' "$S3_ENDPOINT" "$S3_REGION" "$work/credentials"
  printf '}\n'
}

need_store() {
  [[ $storage == s3 && ! -e $work/store ]] || return 0
  local status=0
  start_store rgw || status=$?
  ((status != 77)) || skip "no object store here (the reason stands above)"
  ((status == 0)) || fail "the object store did not start"
}

write_config() {
  need_store
  cat >"$config" <<END
stack: test
repositories:
  main: $(repository_keys)
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

# The objects of the archived segments of all timelines, oldest first.
archived_segments() { objects wal/ | grep -E '/0000[^/.]*$' || true; }

fill() { # fill TABLE MEGABYTES: rows that do not compress
  sql "create table $1 as select g as id, sha512(('$1' || g)::bytea) || sha512(g::text::bytea) as data
       from generate_series(1, $2 * 6000) g"
}

# backup [ARGUMENTS...]: a backup of the database that must succeed; its id is in $backup.
backup() {
  expect 0 holdfast --json backup database "$@"
  backup=$(result 'd["backups"][0]["id"]')
}

# start_backup [CONFIG]: one in the background; its process id is in $backup_pid.
start_backup() {
  "${server_user[@]}" "$program" -c "${1-$config}" backup database \
    >"$work/background.out" 2>"$work/background.err" &
  backup_pid=$!
}

# begin_backup: start_backup, and stops it (SIGSTOP) once it has stored something. The cluster needs some
# 60 MB that are not in the repository and do not compress, so that this is in the middle; and it reads no
# faster than a busy machine looks.
begin_backup() {
  local before
  before=$(count_packs)
  { cat "$config" && echo 'limits: {rate: 32MiB}'; } >"$work/slow.yaml"
  start_backup "$work/slow.yaml"
  in_repository stop-at packs/ $((before + 1)) "$backup_pid" ||
    fail "the backup ended early: $(cat "$work/background.err")"
}

# ---- The repository from outside -----------------------------------------------------------------

# in_repository COMMAND ARGUMENT...: of tests/s3/objects.py, in $repository, main if that is not set.
in_repository() { bucket_tool "$(location "${repository:-main}")" "$@"; }

objects() { in_repository ls "$@"; }           # objects [PREFIX]: the names, sorted
save_object() { in_repository get "$1" "$2"; } # save_object NAME FILE
put_back() { in_repository put "$1" "$2"; }    # put_back NAME FILE: over what is there
remove_object() { in_repository rm "$@"; }     # remove_object NAME...
damage_object() { in_repository damage "$@"; } # damage_object NAME flip|cut|spoil
count_packs() { objects packs/ | wc -l; }

# So that no command reaches it, and as it was.
repository_goes_away() {
  if [[ $storage == s3 ]]; then
    "$project/scripts/object_store" down "$work/store"
  else
    mv "$repo" "$repo.away"
  fi
}
repository_comes_back() {
  if [[ $storage == s3 ]]; then
    "$project/scripts/object_store" up "$work/store"
  else
    mv "$repo.away" "$repo"
  fi
}

# only_directories WHY: the test, or the rest of it, is not for object stores.
only_directories() { [[ $storage == directory ]] || skip "only for directories: $*"; }
