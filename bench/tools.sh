# What the benchmarks that compare holdfast with pgBackRest share: a throwaway cluster's configuration for
# both, and measuring. To be sourced under `set -euo pipefail`.
# pgbackrest_program may be set to another than the machine's own; archiver to what the names of the
# configurations begin with that archive_command uses, where they are others (write them, too).
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
  [[ ! ${work-} ]] || remove_work 2>/dev/null
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
  write_holdfast_configuration "$work/holdfast.yaml" "url: $work/holdfast-repository"
  write_pgbackrest_configuration "$work/pgbackrest.conf" "repo1-path=$work/pgbackrest-repository" \
    repo1-bundle=y "$@"
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
to_holdfast() { $program -c $work/${archiver-}holdfast.yaml wal push "\$1"; }
to_pgbackrest() { $pgbackrest_program --config=$work/${archiver-}pgbackrest.conf --stanza=bench archive-push "\$1"; }
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

write_holdfast_configuration() { # FILE KEYS: where the repository is
  cat >"$1" <<END
stack: bench
repositories:
  main: {$2, key_file: $work/holdfast.key, compression: 3}
components:
  database:
    type: postgresql
    connection: "host=$work/run port=5432 user=postgres dbname=postgres"
limits: {workers: 2}
END
}

write_pgbackrest_configuration() { # FILE OPTION...: of the repository
  cat >"$1" <<END
[global]
$(printf '%s\n' "${@:2}")
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

# ---- The cluster ---------------------------------------------------------------------------------

# pgbench's tables; a row that is updated finds room in its own page, so that only that page changes.
make_accounts() { # MEGABYTES
  pgbench -i -q -F 90 -s "$(($1 / 16 + 1))" >/dev/null 2>&1
}

# Text that compresses as text does.
make_documents() { # MEGABYTES
  sql "select setseed(0.5);
    create table documents (id bigint, author int, created timestamptz, title text, body text,
                            tags jsonb);
    create table words as select g as id, substr(md5(g::text), 1, 3 + g % 8) as word
      from generate_series(0, 4999) g;
    insert into documents
      select d, d % 5000, timestamptz '2024-01-01' + d * interval '1 minute', 'Document ' || d,
             (select string_agg(words[1 + floor(power(random(), 3) * 5000)::int + 0 * (d + g)], ' ')
              from generate_series(1, 120) g),
             jsonb_build_object('kind', d % 17, 'state', case when d % 3 = 0 then 'open' else 'done' end)
      from generate_series(1, 30000) d, (select array_agg(word) as words from words) w;" >/dev/null
  local copies=$(($1 / 25)) i
  for ((i = 1; i <= copies; i++)); do
    sql "insert into documents select id + $i * 30000, (author + $i) % 5000, created, title, body, tags
         from documents where id <= 30000"
  done
  sql "create index on documents (id); create index on documents (author, created);"
}

# change_blocks SEED COUNT: a row in each of so many random blocks (hardly ever two in one).
change_blocks() {
  sql "select setseed($1 / 10000.0);
    update pgbench_accounts set abalance = abalance + 1 where aid = any (array(
      select 1 + floor(random() * (select reltuples from pg_class where relname = 'pgbench_accounts'))::int
      from generate_series(1, $2)))" >/dev/null
  sql checkpoint
}

# ---- Measuring -----------------------------------------------------------------------------------

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

in_turn() { # in_turn RUN FUNCTION: of both tools; who begins alternates
  local tools=(holdfast pgbackrest) tool
  (($1 % 2)) || tools=(pgbackrest holdfast)
  for tool in "${tools[@]}"; do
    active "$tool-first"
    settle
    "$2_$tool"
  done
}

aim() { python3 "$measure" aim "$work/results" "$@"; }
