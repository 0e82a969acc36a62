# The body of postgresql_NN_test.sh, which set $version: backup, restore to a moment, and the server's own
# checks, with a server newer than Debian's own.
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
