#!/usr/bin/env bash
# Without archiving a backup is whole by itself, is done with a warning, and check says what to do.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_cluster
sed -i 's/^archive_mode = on/archive_mode = off/' "$data/postgresql.conf"
write_config
expect 0 holdfast init
start_server "$data" 5432
fill orders 5
rows=$(fingerprint)

expect 1 holdfast check
says archive_mode
expect 3 holdfast --json backup database
backup=$(result 'd["backups"][0]["id"]')
sql "insert into orders values (0, 'later')"

expect 0 holdfast restore database --to "$work/back" --backup "$backup"
start_restored "$work/back" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
