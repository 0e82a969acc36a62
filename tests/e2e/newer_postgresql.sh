# The body of postgresql_NN_test.sh, which set $version: backups of both kinds, restores, and the server's
# own checks, with a server newer than Debian's own.
"$project/scripts/fetch_postgres" "$version" "$work/postgresql-$version" ||
  skip "no PostgreSQL $version here (the reason stands above)"

new_stack --data-checksums
same "the server's version" "$version" "$(sql "select current_setting('server_version_num')::int / 10000")"
pgbench -i -s 3 -q >/dev/null 2>&1
sql "create extension amcheck"
backup
pgbench -n -c 2 -t 500 >/dev/null 2>&1
moment=$(server_time)
rows=$(fingerprint)
pgbench -n -c 2 -t 100 >/dev/null 2>&1
archive_now

expect 0 holdfast restore database --to "$work/back" --at "$moment"
expect 0 pg pg_verifybackup --no-parse-wal "$work/back"
start_restored "$work/back" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
PGPORT=5440 expect 0 pg pg_amcheck --all --heapallindexed
stop_server "$work/back"
expect 0 pg pg_checksums --check -D "$work/back"

# What a server of this version does, told by its WAL: the audit of everything else finds nothing.
pgbench -n -c 2 -t 500 >/dev/null 2>&1
sql "create database copied strategy file_copy"
sql "create table regrown as select * from pgbench_accounts limit 20000"
sql "truncate regrown; insert into regrown select * from pgbench_accounts limit 9000"
sql "delete from pgbench_history where tid % 2 = 0; vacuum pgbench_history; vacuum freeze pgbench_tellers"
sql "create index on pgbench_accounts using brin (aid); create index on pgbench_accounts using hash (bid)"
backup --kind incremental --audit 100%
same "the kind" incremental "$(result 'd["backups"][0]["kind"]')"
same "the method" "change maps" "$(result 'd["backups"][0]["postgresql"]["method"]')"
rows=$(fingerprint)
expect 0 holdfast restore database --to "$work/changed" --backup "$backup"
expect 0 pg pg_verifybackup --no-parse-wal "$work/changed"
start_restored "$work/changed" 5441
same "the rows" "$rows" "$(PGPORT=5441 fingerprint)"
PGPORT=5441 expect 0 pg pg_amcheck --all --heapallindexed --install-missing
stop_server "$work/changed"
expect 0 pg pg_checksums --check -D "$work/changed"
