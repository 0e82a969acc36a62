# Throwaway PostgreSQL servers, and an object store, for the tests, the demo and the benchmarks, in one
# directory ($work) that remove_work leaves nothing of. The servers listen on a socket in there and nowhere
# else. As root, they and holdfast run as the user postgres, since PostgreSQL refuses root.
#
# To be sourced by a script under `set -euo pipefail`, which defines fail().

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=15 # of the servers; another may be set before initialise
# For psql and the like. Another server is reached with PGPORT=N before the command.
export PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGOPTIONS='' LC_ALL=C.UTF-8
unset HOLDFAST_CONFIG

# make_work NAME: $work, and $program, the holdfast under test where the server's user can run it.
make_work() {
  program=${HOLDFAST:-$project/build/release/holdfast}
  [[ -x $program ]] || fail "$program is not there: run scripts/build"
  work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-$1.XXXXXX")
  export PGHOST=$work/run
  mkdir "$work/run"
  ((EUID != 0)) || chown -R postgres: "$work"
  server_user+=("HOME=$work")
  if ! as_server test -x "$program"; then # in root's home directory, say
    install -m 755 "$program" "$work/holdfast"
    program=$work/holdfast
  fi
  cd "$work"
}

stop_servers() {
  find "$work" -name postmaster.pid 2>/dev/null | while read -r file; do
    kill -CONT "$(head -n 1 "$file")" 2>/dev/null || true
    as_server "$(pg_bin "$(cat "${file%/*}/PG_VERSION")")/pg_ctl" -D "${file%/*}" -m immediate -w stop \
      >/dev/null 2>&1 || true
  done
}

# Stops what was started, and removes everything.
remove_work() {
  # shellcheck disable=SC2046
  kill -9 $(jobs -p) 2>/dev/null || true
  stop_servers
  stop_store
  cd /
  rm -rf "$work"
}

# What comes before a command that runs as the servers' user. These replace themselves by the command:
# `"${server_user[@]}" COMMAND &` has its process id in $!, which a function in the background has not.
server_user=(env)
((EUID != 0)) || server_user=(setpriv --reuid postgres --regid postgres --init-groups env)
as_server() { "${server_user[@]}" "$@"; }

pg_bin() { # pg_bin VERSION: where its programs are
  local own=$work/postgresql-$1/usr/lib/postgresql/$1/bin # as scripts/fetch_postgres leaves them
  if [[ -d $own ]]; then echo "$own"; else echo "/usr/lib/postgresql/$1/bin"; fi
}

pg() { # pg PROGRAM...: one of the servers' own programs, as their user
  local name=$1
  shift
  as_server "$(pg_bin "$version")/$name" "$@"
}

# initialise DIR [initdb's options...]: a cluster there. More settings come on stdin.
initialise() {
  local dir=$1
  shift
  pg initdb -D "$dir" -U postgres -A trust -E UTF8 --no-locale --no-sync "$@" >"$work/initdb.log" 2>&1 ||
    fail "initdb: $(tail -n 3 "$work/initdb.log")"
  {
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$work/run'"
    cat
  } >>"$dir/postgresql.conf"
}

start_server() { # start_server DIR PORT [the server's options...]
  local dir=$1 port=$2
  shift 2
  pg pg_ctl -D "$dir" -l "$dir.log" -w -t 120 -o "-p $port $*" start >"$work/pg_ctl.log" 2>&1 ||
    fail "the server in $dir did not start: $(tail -n 5 "$dir.log")"
}

stop_server() { # stop_server DIR [MODE]
  pg pg_ctl -D "$1" -m "${2:-fast}" -w stop >>"$work/pg_ctl.log" 2>&1 ||
    fail "the server in $1 did not stop"
}

# start_store rgw|moto: an object store with the bucket $bucket, which S3_ENDPOINT and the like name for
# tests/s3/objects.py and $work/credentials opens for holdfast. Returns 77 where there is none to be had.
start_store() {
  local status=0
  bucket=holdfast-test
  "$project/scripts/object_store" start "$1" 0 test "secret-$RANDOM$RANDOM" "$work/store" \
    >"$work/store.log" 2>&1 || status=$?
  if ((status)); then
    tail -n 5 "$work/store.log" >&2
    return "$status"
  fi
  set -a
  # shellcheck disable=SC1091
  source "$work/store/environment"
  set +a
  write_credentials "$work/credentials" "$S3_ACCESS_KEY" "$S3_SECRET_KEY"
  bucket_tool "s3://$bucket" make-bucket
}

stop_store() { [[ ! -e $work/store ]] || "$project/scripts/object_store" stop "$work/store"; }

# write_credentials FILE ACCESS_KEY SECRET_KEY
write_credentials() {
  (umask 077 && printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$2" "$3" >"$1")
  ((EUID != 0)) || chown postgres: "$1"
}

# bucket_tool LOCATION COMMAND...: see there.
bucket_tool() { python3 -B "$project/tests/s3/objects.py" "$@"; }

sql() { psql -XAtq -v ON_ERROR_STOP=1 <<<"$1"; }
is_true() { [[ $(sql "select $1") == t ]]; }

# wait_for WHAT COMMAND...: until it succeeds, a minute at most, or $patience seconds.
wait_for() {
  local what=$1 end=$((SECONDS + ${patience:-60}))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "waited ${patience:-60} seconds for $what"
    sleep 0.05
  done
}

# The server's clock, for --at.
server_time() {
  sql "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
}

# Every row of every logged table of the database, in a line per table: name, count, sum of hashes.
fingerprint() {
  sql "select format('select %L, count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)
                      from %s t', oid::regclass, oid::regclass)
       from pg_class where relkind in ('r', 'm') and relpersistence = 'p' and oid >= 16384
         and relnamespace <> 'pg_toast'::regnamespace
       order by oid::regclass::text \gexec"
}

# pause_load PID: stops that pgbench and waits until no commit of its own is under way (what waits for a
# lock waits for a transaction that is stopped too), so that whatever it commits after `kill -CONT PID`
# has a later time than the clock shows now.
pause_load() {
  kill -STOP "$1"
  wait_for "the load to pause" is_true "not exists (select from pg_stat_activity
    where application_name = 'pgbench' and state = 'active' and wait_event_type is distinct from 'Lock')"
}

# is_archived SEGMENT: PostgreSQL has been told so. (Last may be a backup's history file, of a smaller name.)
is_archived() {
  is_true "coalesce(last_archived_wal >= '$1', false) or exists (select from pg_ls_archive_statusdir()
    where name = '$1.done') from pg_stat_archiver"
}

# json FILE EXPRESSION: a Python expression over d, the one JSON document in the file.
json() {
  python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
value = eval(sys.argv[2])
print(value if isinstance(value, str) else json.dumps(value))' "$1" "$2" || fail "the JSON has no «$2»"
}
