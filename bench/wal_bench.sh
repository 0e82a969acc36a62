#!/usr/bin/env bash
# The archiving and the replay of real WAL: segments a second of `wal push`, one at a time and ahead,
# beside pgBackRest's archive-push, synchronous and asynchronous with two processes (zstd, at the level of each, and
# encryption for all); what is lost when everything is killed; and the replay of what `wal fetch` brings,
# beside that of `cp` from a local directory.
#
#   bench/wal_bench.sh [--segments N] [--runs N]
#
# --segments: of 16 MiB, 200 by default; --runs: of each, in turn, 3 by default. TMPDIR says where, with room
# for four times the WAL.
set -euo pipefail
# shellcheck source=../scripts/throwaway.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/throwaway.sh"

fail() {
  echo "bench/wal_bench.sh: $*" >&2
  exit 1
}

segments=200 runs=3
while (($#)); do
  case "$1" in
    --segments) segments=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
  esac
  shift
done

end() {
  local status=$?
  trap - EXIT
  trap '' INT TERM
  set +e
  [[ ! ${work-} ]] || remove_work
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- The cluster and its WAL ---------------------------------------------------------------------

# All WAL stays in pg_wal, ready to be archived; $work/base is the cluster before most of it.
make_wal() {
  initialise "$work/data" --data-checksums <<END
shared_buffers = 512MB
max_wal_size = 16GB
checkpoint_timeout = 30s
fsync = off
synchronous_commit = off
archive_mode = on
archive_command = '/bin/false'
END
  start_server "$work/data" 5432
  pgbench -i -q -s 40 >/dev/null 2>&1
  sql "vacuum analyze"
  stop_server "$work/data"
  as_server cp -a "$work/data" "$work/base"
  start_server "$work/data" 5432
  while (($(find "$status_of" -name '*.ready' | wc -l) < segments)); do
    pgbench -n -c 4 -T 5 >/dev/null 2>&1
  done
  sql "select pg_switch_wal()" >/dev/null
  stop_server "$work/data"
}

write_tool_configurations() {
  cat >"$work/holdfast.yaml" <<END
stack: bench
repositories:
  main: {url: $work/holdfast-repository, key_file: $work/holdfast.key, compression: 3}
components:
  database:
    type: postgresql
    connection: "host=$work/run port=5432 user=postgres dbname=postgres"
END
  { cat "$work/holdfast.yaml" && echo 'wal: {push_ahead: 16}'; } >"$work/ahead.yaml"
  local tool
  for tool in sync async; do
    cat >"$work/pgbackrest-$tool.conf" <<END
[global]
repo1-path=$work/pgbackrest-$tool
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=a-passphrase-of-the-benchmark
compress-type=zst
compress-level=3
process-max=2
archive-async=$([[ $tool == async ]] && echo y || echo n)
log-level-file=off
log-level-console=error
lock-path=$work/lock
spool-path=$work/spool
[bench]
pg1-path=$work/data
END
  done
}

# ---- Archiving -----------------------------------------------------------------------------------

make_all_ready() {
  local mark
  find "$status_of" -name '*.done' | while read -r mark; do mv "$mark" "${mark%.done}.ready"; done
}

none_runs() { ! pgrep -f "$1" >/dev/null; }

command_of() {
  case $1 in
    "holdfast") echo "$program -c $work/holdfast.yaml wal push %p" ;;
    "holdfast ahead") echo "$program -c $work/ahead.yaml wal push %p" ;;
    "pgBackRest") echo "pgbackrest --config=$work/pgbackrest-sync.conf --stanza=bench archive-push %p" ;;
    "pgBackRest async") echo "pgbackrest --config=$work/pgbackrest-async.conf --stanza=bench archive-push %p" ;;
  esac
}

new_repositories() {
  local tool
  rm -rf "$work/holdfast-repository" "$work"/pgbackrest-{sync,async} "$work/spool"
  as_server mkdir -p "$work/lock" "$work/spool"
  as_server "$program" -c "$work/holdfast.yaml" init >/dev/null 2>&1
  for tool in sync async; do
    as_server pgbackrest --config="$work/pgbackrest-$tool.conf" --stanza=bench --no-online stanza-create
  done
}

archive() { # archive TOOL: adds a line to the results
  make_all_ready
  sync -f "$work"
  echo "$1: $(as_server /usr/bin/python3 "$work/archive_wal.py" "$work/data/pg_wal" "$(command_of "$1")")" |
    tee -a "$work/results" >&2
  wait_for "the end of $1" none_runs "config=$work/pgbackrest-async.conf\|$work/ahead.yaml"
}

# SIGKILL to all in the middle; then what was called done must be in the repository.
kill_and_compare() {
  local driver done lost=0 mark segment
  make_all_ready
  "${server_user[@]}" /usr/bin/python3 "$work/archive_wal.py" "$work/data/pg_wal" \
    "$(command_of "holdfast ahead")" >/dev/null 2>&1 &
  driver=$!
  wait_for "half of the segments" bash -c "((\$(find '$status_of' -name '*.done' | wc -l) > $segments / 2))"
  kill -9 "$driver"
  for driver in $(pgrep -f "$work/ahead.yaml wal push"); do kill -9 "$driver" 2>/dev/null || true; done
  done=$(find "$status_of" -name '*.done' -printf '%f\n')
  for mark in $done; do
    segment=${mark%.done}
    as_server "$program" -c "$work/holdfast.yaml" wal fetch "$segment" "$work/fetched" 2>/dev/null &&
      cmp -s "$work/fetched" "$work/data/pg_wal/$segment" || lost=$((lost + 1))
  done
  echo "Killed after $(wc -w <<<"$done") segments were called done: $lost of them are lost"
}

# ---- Replay --------------------------------------------------------------------------------------

replay() { # replay NAME COMMAND: the seconds that the server itself tells
  local dir=$work/replayed seconds
  rm -rf "$dir"
  as_server cp -a "$work/base" "$dir"
  as_server touch "$dir/recovery.signal"
  echo "restore_command = '$2'" >>"$dir/postgresql.conf"
  sync -f "$work"
  start_server "$dir" 5440 -c archive_mode=off -c recovery_target_timeline=current
  PGPORT=5440 wait_for "the end of recovery" is_true "not pg_is_in_recovery()"
  seconds=$(sed -n 's/.*redo done at .* elapsed: \([0-9.]*\) s$/\1/p' "$dir.log" | tail -n 1)
  stop_server "$dir"
  echo "$1: $(grep -c 'restored log file' "$dir.log") $seconds" | tee -a "$work/results" >&2
  rm -f "$dir.log"
}

# ---- The run -------------------------------------------------------------------------------------

"$project/scripts/setup" --bench
[[ ${HOLDFAST-} ]] || "$project/scripts/build"
make_work wal_bench
status_of=$work/data/pg_wal/archive_status
install -m 755 "$project/bench/archive_wal.py" "$work/archive_wal.py"
: >"$work/results"
write_tool_configurations
echo "Making $segments segments" >&2
make_wal

for ((i = 1; i <= runs; i++)); do
  echo "Run $i of $runs" >&2
  new_repositories
  archive "pgBackRest async"
  archive "holdfast ahead"
  rm -rf "$work/holdfast-repository/wal"
  archive "pgBackRest"
  archive "holdfast"
done
as_server mkdir "$work/archive"
find "$work/data/pg_wal" -maxdepth 1 -type f -name '0*' -exec cp -p {} "$work/archive" \;
for ((i = 1; i <= runs; i++)); do
  replay "replay from a directory" "cp $work/archive/%f %p"
  replay "replay by wal fetch" "$program -c $work/holdfast.yaml wal fetch %f %p"
done

echo
echo "$(nproc) processors, $(pgbackrest version), $("$(pg_bin "$version")/postgres" --version)"
python3 - "$work/results" <<'END'
import collections, statistics, sys
rates = collections.defaultdict(list)
for line in open(sys.argv[1]):
    name, numbers = line.rsplit(": ", 1)
    count, seconds = numbers.split()
    rates[name].append(int(count) / float(seconds))
for name, values in rates.items():
    print(f"{name:26} {statistics.median(values):7.1f} segments a second, median of {len(values)}"
          f" ({min(values):.1f} to {max(values):.1f})")
END
rm -rf "$work/holdfast-repository/wal"
kill_and_compare
