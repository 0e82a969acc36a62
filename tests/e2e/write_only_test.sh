#!/usr/bin/env bash
# A host with a write-only credential backs up and archives, and cannot read what it wrote.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill orders 5
full_config=$config
as_server "$program" -c "$config" key export --write-only >"$work/exported.key"
install -m 600 "$work/exported.key" "$work/write-only.key"
((EUID != 0)) || chown postgres: "$work/write-only.key"
sed "s/holdfast\.key/write-only.key/" "$config" >"$work/write-only.yaml"
config=$work/write-only.yaml
sql "alter system set archive_command = '$program -c $config wal push %p'"
sql "select pg_reload_conf()" >/dev/null

rows=$(fingerprint)
backup
archive_now
segment=$(sql "select last_archived_wal from pg_stat_archiver")
expect 0 holdfast list
expect 0 holdfast wal push "$data/pg_wal/$segment"
expect 1 holdfast --json restore database --to "$work/back"
result 'd["error"]["message"]' | grep -qi "write-only" || fail "the refusal does not say write-only"
[[ ! -e $work/back ]] || fail "something was written"
expect 1 holdfast wal fetch "$segment" "$work/fetched"
says write-only
expect 1 holdfast key export
says write-only

config=$full_config
expect 0 holdfast restore database --to "$work/back"
start_restored "$work/back" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
expect 0 holdfast verify "$backup"
