#!/usr/bin/env bash
# Everything by which maps of changed blocks are known to go wrong, between one backup and the next: what
# the incremental backup restores is byte for byte what a full one of the same moment restores.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What is there before the first backup.
prepare() {
  as_server mkdir -p "$work/fast" "$work/slow"
  sql "create tablespace fast location '$work/fast'"
  sql "create tablespace slow location '$work/slow'"
  sql "create database old_home"
  PGDATABASE=old_home fill t 1
  sql "create database moving tablespace fast"
  PGDATABASE=moving fill t 1
  sql "create database doomed"
  local table
  for table in regrown vacuumed full_vacuumed clustered moved_table still hinted sequenced dropped; do
    fill "$table" 2
  done
  sql "create index on clustered (data)"
  sql "create index on still (id)"
  sql "create sequence counter"
  sql "create unlogged table unlogged_one as select * from still"
  sql "create unlogged table to_be_logged as select * from still"
  sql "create table shapes as select g as id, point(g, g) as place, array[g, g + 1] as numbers,
       'text ' || g as words from generate_series(1, 20000) g"
  sql "vacuum"
}

# What happens then. Every one of these has cost somebody a backup.
changes() {
  sql "truncate regrown"
  sql "insert into regrown select g, 'short' from generate_series(1, 10000) g"
  sql "delete from vacuumed where id > 6000"
  sql "vacuum vacuumed" # cuts off the end
  sql "insert into vacuumed select g, 'new' from generate_series(1, 50000) g"
  sql "vacuum full full_vacuumed"
  sql "cluster clustered using clustered_data_idx"
  sql "alter table moved_table set tablespace slow"
  sql "drop table dropped"
  local method
  for method in btree hash gist spgist brin gin; do
    case $method in
      gin) sql "create index on shapes using gin (numbers)" ;;
      gist | spgist) sql "create index on shapes using $method (place)" ;;
      brin) sql "create index on shapes using brin (id)" ;;
      *) sql "create index on shapes using $method (words)" ;;
    esac
  done
  sql "insert into shapes select g, point(g, -g), array[g], 'more ' || g from generate_series(1, 5000) g"
  sql "select nextval('counter') from generate_series(1, 100)" >/dev/null
  sql "update hinted set data = 'x' where id % 50 = 0"
  sql "select count(*) from hinted" >/dev/null # sets hint bits
  sql "insert into unlogged_one select * from unlogged_one"
  sql "alter table to_be_logged set logged"
  sql "create temporary table gone as select * from still"
  sql "create database copied template old_home strategy file_copy"
  sql "create database logged template old_home strategy wal_log"
  sql "alter database moving set tablespace slow"
  sql "drop database doomed"
  sql "drop database old_home"
  sql "begin; create table never (id int); insert into never select generate_series(1, 9999); rollback"
  sql "begin; insert into still select g, 'p' from generate_series(1, 5000) g; prepare transaction 'p1'"
  sql "commit prepared 'p1'"
  sql "vacuum full pg_class" # a mapped relation
  sql "select lo_create(4711)" >/dev/null
  sql "vacuum freeze still"
}

# restore_backup ID DIR, with the tablespaces below it.
restore_backup() {
  expect 0 holdfast restore database --backup "$1" --to "$2" \
    --tablespace "$work/fast=$2.fast" --tablespace "$work/slow=$2.slow"
}

# same_relations DIR DIR: every file of every relation. In a cluster without checksums hint bits change
# without WAL, so that pages may differ in those alone.
same_relations() {
  python3 - "$1" "$2" "$checksums" "$project/tests/e2e" <<'END' || fail "the backups differ"
import json, os, sys
one, other, checksums, tests = sys.argv[1:]
sys.path.insert(0, tests)
import page_compare as pages

def files(directory):
    manifest = json.load(open(directory + "/backup_manifest"))
    return {f["Path"]: (f["Size"], f["Checksum"]) for f in manifest["Files"]
            if f["Path"].split("/")[0] in ("base", "global", "pg_tblspc")
            and f["Path"] != "global/pg_control"}

def without_hints(page):
    out = bytearray(page)
    special = pages.get16(page, 16)
    if special == pages.PAGE_SIZE:
        pages.mask_heap(out)
    elif special:
        pages.clear_dead_marks(out)
        pages.clear(out, special, pages.PAGE_SIZE)
    pages.clear(out, 8, 12)
    pages.clear(out, 20, 24)
    return out

def differ_in_hints(path):
    a, b = (open(os.path.join(d, path), "rb").read() for d in (one, other))
    if checksums == "on" or len(a) != len(b) or "_" in path.rsplit("/", 1)[1]:
        return False
    return all(without_hints(a[i:i + 8192]) == without_hints(b[i:i + 8192])
               for i in range(0, len(a), 8192))

a, b = files(one), files(other)
wrong = [p for p in sorted(a.keys() | b.keys()) if a.get(p) != b.get(p)
         and not (p in a and p in b and differ_in_hints(p))]
for path in wrong:
    print("differs:", path, a.get(path), b.get(path), file=sys.stderr)
sys.exit(1 if wrong or len(a) < 500 else 0)
END
}

# The incremental backup of this moment, and that it is the same as a full one, starts, and is sound.
check_incremental() { # check_incremental NAME METHOD
  sql "checkpoint"
  backup --kind incremental
  same "the kind" incremental "$(result 'd["backups"][0]["kind"]')"
  same "the method" "$2" "$(result 'd["backups"][0]["postgresql"]["method"]')"
  local incremental=$backup
  backup
  expect 0 holdfast verify "$incremental"
  restore_backup "$incremental" "$work/$1.i"
  restore_backup "$backup" "$work/$1.f"
  same_relations "$work/$1.i" "$work/$1.f"
  expect 0 pg pg_verifybackup --no-parse-wal "$work/$1.i"
  local rows
  rows=$(fingerprint)
  start_restored "$work/$1.i" 5450
  same "the rows" "$rows" "$(PGPORT=5450 fingerprint)"
  PGPORT=5450 expect 0 pg pg_amcheck --all --heapallindexed --install-missing -p 5450
  stop_server "$work/$1.i"
  rm -rf "$work/$1".[if]*
}

both=(on off)
[[ $storage == directory ]] || both=(on) # what differs is nothing to the storage
for checksums in "${both[@]}"; do
  if [[ $checksums == on ]]; then options=(--data-checksums); else options=(); fi
  new_stack "${options[@]}"
  sql "alter system set autovacuum = off" # it would work between the two backups that are compared
  sql "select pg_reload_conf()" >/dev/null
  prepare
  backup
  changes
  check_incremental "maps-$checksums" "change maps"
  # Nothing at all, and single changes.
  check_incremental "still-$checksums" "change maps"
  sql "update still set data = 'y' where id = 77"
  check_incremental "one-$checksums" "change maps"
  # Without the archive in between, every page is looked at.
  sql "alter system set archive_command = '/bin/true'"
  sql "select pg_reload_conf()" >/dev/null
  wait_for "the new setting" is_true "current_setting('archive_command') = '/bin/true'"
  sql "insert into still select g, 'q' from generate_series(1, 3000) g"
  sql "delete from still where id % 3 = 0"
  sql "vacuum still"
  for ((i = 0; i < 8; ++i)); do sql "select pg_switch_wal()" >/dev/null; done
  sql "checkpoint; checkpoint"
  sql "alter system reset archive_command"
  sql "select pg_reload_conf()" >/dev/null
  check_incremental "lsn-$checksums" "page LSNs"
  stop_server "$data"
  in_repository empty
  rm -rf "$data" "$work/holdfast.key" "$work/fast" "$work/slow" "$work"/*.log
done
