#!/usr/bin/env bash
# What is easily forgotten: unlogged tables, large objects, sequences, a second database, a prepared
# transaction, roles.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
sql "create unlogged table scratch as select g from generate_series(1, 1000) g;
     create table plain as select g as id from generate_series(1, 1000) g;
     create sequence counter; alter sequence counter restart 4712;
     create role trader login;
     create database second;
     begin; insert into plain values (-1); prepare transaction 'half done'"
object=$(sql "select lo_from_bytea(0, decode(repeat('deadbeef', 10000), 'hex'))")
PGDATABASE=second fill other 2
rows=$(fingerprint)
second_rows=$(PGDATABASE=second fingerprint)
backup
archive_now

expect 0 holdfast restore database --to "$work/back"
expect 0 pg pg_verifybackup --no-parse-wal "$work/back"
start_restored "$work/back" 5440
export PGPORT=5440
same "the rows" "$rows" "$(fingerprint)"
same "the second database" "$second_rows" "$(PGDATABASE=second fingerprint)"
same "the unlogged table is empty" 0 "$(sql "select count(*) from scratch")"
sql "insert into scratch values (1)"
same "the large object" "$(printf 'deadbeef%.0s' {1..10000} | md5sum | cut -d' ' -f1)" \
  "$(sql "select md5(encode(lo_get($object), 'hex'))")"
same "the sequence" 4712 "$(sql "select nextval('counter')")"
same "the role" 1 "$(sql "select count(*) from pg_roles where rolname = 'trader'")"
sql "commit prepared 'half done'"
same "the prepared row" 1 "$(sql "select count(*) from plain where id = -1")"
