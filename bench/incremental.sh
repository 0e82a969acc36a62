#!/usr/bin/env bash
# Compares incremental backups and restores over what is there with pgBackRest's (bundling and block
# incrementals, its newest release), on the same cluster and in the same run; says which aims are met.
#
#   bench/incremental.sh [--size SIZE] [--runs N] [--many N] [--quick]
#
# --size: of the cluster, 5G by default (M and G are understood); --runs: of each, alternating, 5 by
# default; --many N: also N incrementals of a small cluster, how long `list` and the newest's restore take
# then; --quick: 300M, one run. TMPDIR says where, with room for six times the size.
#
# Two workers and zstd level 3 each; holdfast encrypts, pgBackRest does not have to. Both archive all WAL,
# the one that is measured first. What WAL archiving costs is no part of the times.
set -euo pipefail
# shellcheck source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

size=5G runs=5 many=0
while (($#)); do
  case "$1" in
    --quick) size=300M runs=1 ;;
    --size) size=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --many) many=$2 && shift ;;
    *) usage ;;
  esac
  shift
done
megabytes=$(($(numfmt --from=iec "$size") / 1048576))
((megabytes >= 50)) || fail "--size: 50M is the least"

# ---- The cluster ---------------------------------------------------------------------------------

make_data() {
  make_accounts "$megabytes"
  sql "vacuum analyze"
  sql checkpoint
}

# ---- Measuring -----------------------------------------------------------------------------------

backup_holdfast() {
  measure holdfast "$action" --grown "$work"/holdfast-repository/{packs,index,backups} -- \
    "${holdfast[@]}" backup database --kind "$kind"
}

backup_pgbackrest() {
  measure pgBackRest "$action" --grown "$work/pgbackrest-repository/backup" -- \
    "${pgbackrest[@]}" --type="${kind:0:4}" backup
}

backup_both() { # backup_both RUN ACTION KIND
  action=$2 kind=$3
  in_turn "$1" backup
}

restore_holdfast() {
  measure holdfast "$action" -- "${holdfast[@]}" restore database --to "$work/restored-holdfast" \
    --backup latest ${delta:+--delta}
}

restore_pgbackrest() {
  measure pgBackRest "$action" -- "${pgbackrest[@]}" --pg1-path="$work/restored-pgbackrest" \
    --type=immediate ${delta:+--delta} restore
}

restore_both() { # restore_both RUN ACTION [delta]
  action=$2 delta=${3-}
  in_turn "$1" restore
}

# The same random pages of both copies are overwritten, 1 % of each file that has so many.
damage_copies() {
  as_server python3 - "$1" "$work"/restored-{holdfast,pgbackrest} <<'END'
import os, random, sys
for directory in sys.argv[2:]:
    chosen = random.Random(int(sys.argv[1]))
    for folder, _, names in sorted(os.walk(os.path.join(directory, "base"))):
        for name in sorted(names):
            path = os.path.join(folder, name)
            pages = os.path.getsize(path) // 8192
            with open(path, "r+b") as file:
                for page in sorted(chosen.sample(range(pages), pages // 100)):
                    file.seek(page * 8192 + 4000)
                    file.write(chosen.randbytes(100))
END
}

# The table is what it is in the source, which has not changed since the last backups.
check_copies() {
  local path file
  path=$(sql "select pg_relation_filepath('pgbench_accounts')")
  for file in $(cd "$work/data" && ls "$path" "$path".[0-9]* 2>/dev/null); do
    cmp "$work/data/$file" "$work/restored-holdfast/$file" >&2 || fail "holdfast restored $file wrongly"
    cmp "$work/data/$file" "$work/restored-pgbackrest/$file" >&2 || fail "pgBackRest restored $file wrongly"
  done
}

# ---- The run -------------------------------------------------------------------------------------

incrementals() { # incrementals SUFFIX
  local run
  for ((run = 1; run <= runs; run++)); do
    echo "Run $run of $runs$1" >&2
    backup_both "$run" "unchanged$1" incremental
    change_blocks "$((changes += 1))" "$blocks"
    backup_both "$run" "1 % changed$1" incremental
  done
}

delta_restores() {
  local run
  active none
  as_server mkdir -m 700 "$work"/restored-{holdfast,pgbackrest}
  restore_both 1 "restore, empty directory"
  for ((run = 1; run <= runs; run++)); do
    damage_copies "$run"
    restore_both "$run" "restore, 1 % damaged" delta
    check_copies
  done
  rm -rf "$work"/restored-*
}

many_incrementals() {
  local run
  sql "drop table if exists doubled; drop table pgbench_accounts, pgbench_branches, pgbench_history,
       pgbench_tellers" && pgbench -i -q -F 90 -s 10 >/dev/null 2>&1
  sql checkpoint
  active holdfast
  blocks=20
  for ((run = 1; run <= many; run++)); do
    change_blocks "$run" "$blocks"
    ((run % 100)) || echo "Incremental $run of $many" >&2
    as_server "${holdfast[@]}" backup database --kind incremental >/dev/null
  done
  for ((run = 1; run <= runs; run++)); do
    measure holdfast "list of many" -- "${holdfast[@]}" list
    measure holdfast "restore of the newest of many" -- "${holdfast[@]}" restore database \
      --to "$work/restored-many" --backup latest
    rm -rf "$work/restored-many"
  done
  mv "$work/holdfast-repository" "$work/many-repository"
  holdfast init >/dev/null 2>&1
  as_server "${holdfast[@]}" backup database --kind full >/dev/null
  for ((run = 1; run <= runs; run++)); do
    measure holdfast "restore of a fresh full" -- "${holdfast[@]}" restore database \
      --to "$work/restored-many" --backup latest
    rm -rf "$work/restored-many"
  done
}

"$project/scripts/setup"
[[ ${HOLDFAST-} ]] || "$project/scripts/build"
make_work incremental
"$project/scripts/fetch_pgbackrest" "$work/pgbackrest"
pgbackrest_program=$work/pgbackrest/usr/bin/pgbackrest
prepare_tools repo1-block=y

echo "Making a cluster of some $megabytes MB" >&2
active none
initialise "$work/data" <<END
archive_mode = on
archive_command = '$work/archive-pgbackrest %p'
END
start_server "$work/data" 5432
make_data
one_percent=$(sql "select (sum(pg_database_size(oid)) / 8192 / 100)::bigint from pg_database")
blocks=$one_percent changes=0
database_size=$(sql "select pg_size_pretty(sum(pg_database_size(oid))) from pg_database")
holdfast init >/dev/null 2>&1
as_server "${pgbackrest[@]}" stanza-create >&2

backup_both 1 full full
incrementals ""
delta_restores
echo "Doubling the cluster" >&2
active none # no change map covers this: the backup after it has to read everything
sql "create table doubled as table pgbench_accounts; create index on doubled (aid)"
sql "vacuum analyze doubled"
sql checkpoint
backup_both 1 "after doubling" incremental
incrementals ", doubled"
((many == 0)) || many_incrementals

echo
echo "A cluster of $database_size, 1 % of it $one_percent blocks, $runs runs of each, $(nproc) processors," \
  "$("$pgbackrest_program" version), $("$(pg_bin "$version")/postgres" --version)"
python3 "$measure" report "$work/results"
echo
aim "1 % changed: wall time, of pgBackRest's" 0.1 wall holdfast "1 % changed" pgBackRest "1 % changed"
aim "1 % changed: stored, of pgBackRest's" 0.333 stored holdfast "1 % changed" pgBackRest "1 % changed"
aim "unchanged: seconds" 0.3 wall holdfast unchanged
aim "1 % changed, twice the data: wall time, of that before" 1.1 wall \
  holdfast "1 % changed, doubled" holdfast "1 % changed"
aim "unchanged, twice the data: wall time, of that before" 1.1 wall \
  holdfast "unchanged, doubled" holdfast unchanged
aim "restore after 1 % damage: wall time, of pgBackRest's" 0.5 wall \
  holdfast "restore, 1 % damaged" pgBackRest "restore, 1 % damaged"
((many == 0)) || {
  aim "list of $many incrementals: seconds" 0.2 wall holdfast "list of many"
  aim "restore of the newest of $many, of a fresh full's" 1.3 wall \
    holdfast "restore of the newest of many" holdfast "restore of a fresh full"
}
