# What the benchmarks that compare holdfast with pgBackRest share: a throwaway cluster's configuration for
# both, and measuring. To be sourced under `set -euo pipefail`.
# pgbackrest_program may be set to another than the machine's own.
# shellcheck source=../scripts/throwaway.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/throwaway.sh"

fail() {
  echo "bench/$(basename "$0"): $*" >&2
  [[ ! -e ${work-}/data.log ]] || tail -n 5 "$work/data.log" >&2
  exit 1
}

usage() { # the comment at the head of the script
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

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

# prepare_tools [pgBackRest's options...]: both are configured in $work, nothing is measured yet.
prepare_tools() {
  measure=$work/measure.py
  install -m 755 "$project/bench/measure.py" "$measure"
  as_server mkdir -p "$work/segments" "$work/lock" "$work/spool"
  : >"$work/results"
  ((EUID != 0)) || chown postgres: "$work/results"
  pgbackrest_program=${pgbackrest_program:-pgbackrest}
  write_tool_configurations "$@"
  write_archive_script
  holdfast=("$program" -c "$work/holdfast.yaml" -q)
  pgbackrest=("$pgbackrest_program" "--config=$work/pgbackrest.conf" --stanza=bench)
}

holdfast() { as_server "${holdfast[@]}" "$@"; }

# archive_command: the tool under test is named in a file; segments are also kept for `wal push`. With both,
# the one that is measured now comes first: it does not wait for the other.
# (pgBackRest insists on a command that has its name in it.)
write_archive_script() {
  cat >"$work/archive-pgbackrest" <<END
#!/bin/sh
to_holdfast() { $program -c $work/holdfast.yaml wal push "\$1"; }
to_pgbackrest() { $pgbackrest_program --config=$work/pgbackrest.conf --stanza=bench archive-push "\$1"; }
case \$(cat $work/active) in
  holdfast) to_holdfast "\$1" ;;
  pgbackrest) to_pgbackrest "\$1" ;;
  holdfast-first) to_holdfast "\$1" && to_pgbackrest "\$1" ;;
  pgbackrest-first) to_pgbackrest "\$1" && to_holdfast "\$1" ;;
  keep) cp "\$1" $work/segments/ ;;
esac
END
  chmod +x "$work/archive-pgbackrest"
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
limits: {workers: 2}
END
  cat >"$work/pgbackrest.conf" <<END
[global]
repo1-path=$work/pgbackrest-repository
repo1-bundle=y
$(printf '%s\n' "$@")
repo1-retention-full=9
compress-type=zst
compress-level=3
process-max=2
start-fast=y
log-level-file=off
log-level-console=error
lock-path=$work/lock
spool-path=$work/spool
[bench]
pg1-path=$work/data
pg1-port=5432
pg1-socket-path=$work/run
pg1-user=postgres
END
}

# measure TOOL ACTION [measure.py's options] -- COMMAND...: after what is still to be written has been.
cold=false
measure() {
  sync
  if $cold; then echo 3 >/proc/sys/vm/drop_caches; fi
  as_server python3 "$measure" run "$work/results" "$@" >&2
}

active() { echo "$1" >"$work/active"; }

# Ends the WAL segment and waits until the active tools have archived it.
settle() {
  local segment
  segment=$(sql "select pg_walfile_name(pg_switch_wal())")
  wait_for "$segment" is_archived "$segment"
}
