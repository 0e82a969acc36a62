#!/usr/bin/env bash
# What ten daily logical dumps of a database take in the repository, and how long each lasts: of a table of
# which 1 % changes a day, in one stretch and in single rows here and there. Beside it restic and borg
# (Debian's), which are given the same dump on their standard input.
#
#   bench/dumps.sh [--rows N] [--days N]
#
# --rows: of the table, of some 120 bytes each, 2000000 by default. --days: 10 by default. All encrypt and
# compress with zstd, level 3 (restic: "auto"). What is stored on a day is how much larger the repository
# became. The aim is less than 1.5 times the first dump in all.
set -euo pipefail
# shellcheck source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

rows=2000000 days=10
while (($#)); do
  case "$1" in
    --rows) rows=$2 && shift ;;
    --days) days=$2 && shift ;;
    *) usage ;;
  esac
  shift
done
tools=(holdfast restic borg)

prepare() {
  make_work bench-dumps
  as_server mkdir "$work/repository"
  head -c 24 /dev/urandom | base64 >"$work/password"
  cat >"$work/holdfast.yaml" <<END_OF_FILE
repositories:
  main: {url: $work/repository/holdfast, key_file: $work/holdfast.key, compression: 3}
components:
  database: {type: postgresql, connection: "host=$work/run port=5432 user=postgres dbname=postgres"}
scratch: $work
END_OF_FILE
  ((EUID != 0)) || chown postgres: "$work/password"
  server_user+=("RESTIC_REPOSITORY=$work/repository/restic" "RESTIC_PASSWORD_FILE=$work/password"
    "RESTIC_CACHE_DIR=$work/restic-cache" "BORG_REPO=$work/repository/borg"
    "BORG_PASSCOMMAND=cat $work/password" "BORG_BASE_DIR=$work/borg-base")
  initialise "$work/data" <<<"fsync = off"
  start_server "$work/data" 5432
  as_server "$program" -c "$work/holdfast.yaml" -q init >/dev/null
  as_server restic -q init --repository-version 2 >/dev/null
  as_server borg init -e repokey-blake2
}

make_database() { # make_database NAME: no two have a row in common
  sql "create database $1"
  PGDATABASE=$1 sql "
    create table accounts as select g as id, g % 7 as branch, 0 as balance,
        md5('$1' || g) || md5('$1 x' || g) || md5('$1 y' || g) as filler from generate_series(1, $rows) g;
    alter table accounts add primary key (id)"
}

# 1 % of the rows: those that follow each other, or single ones.
change_stretch() {
  sql "update accounts set balance = balance + $1, filler = md5('$1' || id) || substr(filler, 33)
       where id between $1 * ($rows / 50) and $1 * ($rows / 50) + $rows / 100; vacuum accounts"
}
change_scattered() {
  sql "update accounts set balance = balance + $1, filler = md5('$1' || id) || substr(filler, 33)
       where (hashint4(id) & 65535) % 100 = $1; vacuum accounts"
}

dump_with() { # dump_with TOOL DATABASE DAY
  case $1 in
    holdfast) as_server "$program" -c "$work/holdfast.yaml" -q dump "$2" >/dev/null ;;
    restic) pg pg_dump -h "$PGHOST" -Fc -Z0 "$2" | as_server restic -q backup --compression auto --stdin --stdin-filename "$2.dump" ;;
    borg) pg pg_dump -h "$PGHOST" -Fc -Z0 "$2" | as_server borg create --compression zstd,3 "::$2-$3" - ;;
  esac
}

stored_by() { du -sb "$work/repository/$1" | cut -f 1; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

compare() { # compare DATABASE CHANGE
  make_database "$1"
  for ((day = 1; day <= days; ++day)); do
    for tool in "${tools[@]}"; do
      before=$(stored_by "$tool") begin=$(milliseconds)
      dump_with "$tool" "$1" "$day"
      echo "$1 $tool $day $(($(stored_by "$tool") - before)) $(($(milliseconds) - begin))" >>"$work/results"
    done
    PGDATABASE=$1 "$2" "$day"
  done
}

prepare
version_of() { "$@" | head -n 1; }
echo "$(nproc) processors, $(version_of restic version), $(version_of borg --version); $rows rows, $days days"
compare stretch change_stretch
compare scattered change_scattered
awk '
  { if ($3 == 1) first[$1, $2] = $4; else { later[$1, $2] += $5; n[$1, $2]++ }
    if ($3 == 1) first_ms[$1, $2] = $5; sum[$1, $2] += $4; last[$1, $2] = $4; tool[$2]; kind[$1] }
  END {
    for (k in kind) for (t in tool)
      printf "%-10s %-9s first %7.1f MiB in %6.2f s; the last day %7.1f MiB; a later day %6.2f s; in all %5.2f of the first%s\n",
        k, t, first[k, t] / 1048576, first_ms[k, t] / 1000, last[k, t] / 1048576, later[k, t] / n[k, t] / 1000,
        sum[k, t] / first[k, t], t != "holdfast" ? "" : sum[k, t] < 1.5 * first[k, t] ? "  at most 1.5: met" : "  at most 1.5: MISSED"
  }' "$work/results" | sort
