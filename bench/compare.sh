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

# Fixed rows with indexes (pgbench), and documents.
make_data() {
  pgbench -i -q -s "$((size * 6 / 10 / 15 + 1))" >/dev/null 2>&1
  make_documents $((size * 4 / 10))
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
