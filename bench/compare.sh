#!/usr/bin/env bash
# Compares holdfast with pgBackRest and pg_basebackup on the same running cluster: full backup, restore, the
# archiving of a 16 MiB segment, and start-up. Two workers, zstd level 3, encryption where there is one.
#
#   bench/compare.sh [--quick] [--size MB] [--runs N] [--cold]
#
# --size: of the database, 3200 by default; --runs: of each, alternating, 3 by default; --cold: the page
# cache is dropped before each (needs root); --quick: 300 MB, one run. TMPDIR says where, with room for
# four times the size.
set -euo pipefail
# shellcheck source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

size=3200 runs=3
while (($#)); do
  case "$1" in
    --quick) size=300 runs=1 ;;
    --size) size=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --cold) cold=true ;;
    *) usage ;;
  esac
  shift
done

# ---- The cluster ---------------------------------------------------------------------------------

# Fixed rows with indexes (pgbench), and documents: text that compresses as text does.
make_data() {
  pgbench -i -q -s "$((size * 6 / 10 / 15 + 1))" >/dev/null 2>&1
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
  local copies=$((size * 4 / 10 / 25))
  for ((i = 1; i <= copies; i++)); do
    sql "insert into documents select id + $i * 30000, (author + $i) % 5000, created, title, body, tags
         from documents where id <= 30000"
  done
  sql "create index on documents (id); create index on documents (author, created);"
  sql "vacuum analyze"
  sql checkpoint
}

# ---- Measuring -----------------------------------------------------------------------------------

round_of_holdfast() {
  active holdfast
  holdfast init >/dev/null 2>&1
  measure holdfast backup --stored "$work/holdfast-repository/packs" -- "${holdfast[@]}" backup database
  measure holdfast restore -- "${holdfast[@]}" restore database --to "$work/restored" --backup latest
}

round_of_pgbackrest() {
  active pgbackrest
  as_server "${pgbackrest[@]}" stanza-create >&2
  measure pgBackRest backup --stored "$work/pgbackrest-repository/backup" -- \
    "${pgbackrest[@]}" --type=full backup
  measure pgBackRest restore -- "${pgbackrest[@]}" --pg1-path="$work/restored" restore
}

# No compression, no encryption, one process: the copy that comes with PostgreSQL.
round_of_pg_basebackup() {
  active none
  measure pg_basebackup backup --stored "$work/basebackup" -- "$(pg_bin "$version")/pg_basebackup" \
    -h "$PGHOST" -U postgres -D "$work/basebackup" -c fast -X none --no-manifest
  measure pg_basebackup restore -- sh -c "cp -a '$work/basebackup' '$work/restored' && sync -f '$work'"
}

# Segments of real WAL, each pushed once to each.
push_segments() {
  local segment
  active holdfast
  holdfast init >/dev/null 2>&1
  active pgbackrest
  as_server "${pgbackrest[@]}" stanza-create >&2
  active none
  for segment in "$work"/segments/*; do
    measure holdfast "wal push" -- "${holdfast[@]}" wal push "$segment"
    measure pgBackRest "wal push" -- "${pgbackrest[@]}" archive-push "$segment"
  done
}

clear_round() {
  rm -rf "$work/holdfast-repository" "$work/pgbackrest-repository" "$work/basebackup" "$work/restored"
  as_server mkdir -m 700 "$work/restored"
}

# ---- The run -------------------------------------------------------------------------------------

"$project/scripts/setup" --bench
[[ ${HOLDFAST-} ]] || "$project/scripts/build"
make_work bench
prepare_tools repo1-cipher-type=aes-256-cbc "repo1-cipher-pass=$(head -c 33 /dev/urandom | base64)"

echo "Making a cluster of some $size MB" >&2
active none
initialise "$work/data" --data-checksums <<END
shared_buffers = 256MB
max_wal_size = 4GB
jit = off
archive_mode = on
archive_command = '$work/archive-pgbackrest %p'
END
start_server "$work/data" 5432
make_data
active keep
for ((i = 0; i < 6; i++)); do
  PGOPTIONS="-c synchronous_commit=off" pgbench -n -c 2 -t 2000 >/dev/null 2>&1
  settle
done
database_size=$(sql "select pg_size_pretty(sum(pg_database_size(oid))) from pg_database")

for ((i = 1; i <= runs; i++)); do
  for tool in holdfast pgbackrest pg_basebackup; do
    echo "Run $i of $runs: $tool" >&2
    clear_round
    "round_of_$tool"
  done
done
clear_round
push_segments
cold=false
for ((i = 0; i < 20; i++)); do
  measure holdfast version -- "$program" version
done

echo
echo "A cluster of $database_size, $runs runs of each, $(nproc) processors," \
  "$(pgbackrest version), $("$(pg_bin "$version")/postgres" --version)"
python3 "$measure" report "$work/results"
