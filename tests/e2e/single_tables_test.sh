#!/usr/bin/env bash
# Single tables as of a moment: exactly as they were, and nothing else of the target is touched.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

password=canary-$RANDOM$RANDOM
into="host=$work/run port=5432 user=postgres dbname=shop"
export PGDATABASE=shop

# contents DATABASE TABLE: every row, in order.
contents() { PGDATABASE=$1 sql "\\copy (select * from $2 order by 1) to stdout"; }
# shape DATABASE TABLE: what \d shows, of columns, indexes, constraints.
shape() { PGDATABASE=$1 psql -XAq -c "\\d $2"; }
own_shape() { sed '/^Referenced by/d; /^    TABLE /d'; } # without the foreign keys of others
restore_tables() { holdfast restore database --into "$into" "$@"; }

PGDATABASE=postgres new_stack
sed -i "s|^stack:.*|&\nscratch: $work/scratch|" "$config"
PGDATABASE=postgres sql "create database shop"
PGDATABASE=postgres sql "create database \"other one\""
PGDATABASE=postgres sql "create table big as select g, repeat('x', 500) from generate_series(1, 20000) g"
PGDATABASE='other one' sql "create table ballast as select g, repeat('y', 500) from generate_series(1, 60000) g"
as_server mkdir "$work/fast"
sql "create tablespace fast location '$work/fast'"
sql "create type mood as enum ('good', 'bad');
create schema \"Odd Schema\";
create table customers (id int generated always as identity primary key, name text not null unique);
create table orders (
  id bigserial primary key, customer int not null references customers, mood mood default 'good',
  price numeric(10,2) check (price >= 0), tax numeric generated always as (price * 0.2) stored, note text);
create index orders_note on orders (lower(note)) where note is not null;
create statistics orders_both on customer, mood from orders;
create table items (id int primary key, \"order\" bigint references orders on delete cascade) tablespace fast;
create table parts (id int, at date, what text, primary key (id, at)) partition by range (at);
create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-02-01');
create table parts_2 partition of parts for values from ('2024-02-01') to ('2024-03-01');
create index on parts (what);
create sequence shared_numbers;
create table \"Odd Schema\".\"We ird.Tab\" (\"Key \"\"q\"\"\" int default nextval('shared_numbers') primary key, \"v'\" text);
insert into customers (name) select 'c' || g from generate_series(1, 50) g;
insert into orders (customer, price, note) select 1 + g % 50, g, 'n' || g from generate_series(1, 2000) g;
insert into items select g, g from generate_series(1, 100) g;
insert into parts select g, date '2024-01-01' + g % 59, E'p\\\\\t' || g from generate_series(1, 500) g;
insert into \"Odd Schema\".\"We ird.Tab\" (\"v'\") select E'\\\\N \n' || g from generate_series(1, 30) g;"
# What goes on in the database that is not restored.
PGDATABASE='other one' pgbench -i -s 1 -q >/dev/null 2>&1
PGDATABASE='other one' sql "create table words as select g, string_to_array(md5(g::text), '7') as w from generate_series(1, 5000) g;
  create index on words using gin (w); create index on words using brin (g)"
sql "create unlogged table notes as select 1 as id"
backup

pgbench -n -R 100 -T 600 "other one" >"$work/load.log" 2>&1 &
load=$!
sql "begin; update orders set note = 'prepared' where id = 10; prepare transaction 'it''s open'"
tables=(public.orders public.customers public.parts '"Odd Schema"."We ird.Tab"')
moments=()
for round in 1 2 3; do
  PGDATABASE='other one' sql "insert into words select g, array[md5(g::text)] from generate_series(1, 2000) g;
    delete from words where g % 10 = $round; vacuum words; truncate pgbench_history; checkpoint"
  sql "update orders set price = price + 1, note = 'round $round' where id % 5 = $round;
       insert into orders (customer, price) select 1, g from generate_series(1, 100) g;
       insert into customers (name) values ('new $round');
       delete from parts where id % 7 = $round;
       update \"Odd Schema\".\"We ird.Tab\" set \"v'\" = \"v'\" || $round"
  for i in "${!tables[@]}"; do contents shop "${tables[i]}" >"$work/rows.$round.$i"; done
  sql "select last_value from orders_id_seq" >"$work/sequence.$round"
  moments[round]=$(server_time)
done
for i in "${!tables[@]}"; do shape shop "${tables[i]}" >"$work/shape.$i"; done
sql "commit prepared 'it''s open'"
sql "delete from items; delete from orders; insert into customers (name) values ('later'); drop table parts"
kill "$load"
wait "$load" || true
archive_now

# ---- Into another database, as of each moment ----------------------------------------------------
PGDATABASE=postgres sql "create database elsewhere"
PGDATABASE=elsewhere sql "create type mood as enum ('good', 'bad')"
into="host=$work/run user=postgres dbname=elsewhere"
for round in 2 1; do
  PGOPTIONS='-c client_min_messages=warning' PGDATABASE=elsewhere sql 'drop table if exists orders, customers, parts; drop schema if exists "Odd Schema" cascade;
    drop sequence if exists shared_numbers'
  expect 0 restore_tables --only shop --at "${moments[round]}" --table "${tables[@]}"
  says "it will need"
  for i in "${!tables[@]}"; do
    contents elsewhere "${tables[i]}" | cmp - "$work/rows.$round.$i" || fail "${tables[i]} at moment $round"
  done
  # A sequence's values are logged 32 ahead: so far a recovery may skip.
  last=$(PGDATABASE=elsewhere sql "select last_value from orders_id_seq")
  ((last >= $(cat "$work/sequence.$round") && last <= $(cat "$work/sequence.$round") + 32)) ||
    fail "the sequence is at $last instead of $(cat "$work/sequence.$round")"
done
for i in "${!tables[@]}"; do
  diff <(own_shape <"$work/shape.$i") <(shape elsewhere "${tables[i]}" | own_shape) ||
    fail "the definition of ${tables[i]}"
done
PGDATABASE=elsewhere sql "insert into orders (customer, price) values (1, 1); insert into customers (name) values ('x')"
[[ -z $(ls -A "$work/scratch") ]] || fail "something is left in the scratch directory"

# ---- Beside what is there, and in its place ------------------------------------------------------
into="host=$work/run user=postgres dbname=shop"
PGDATABASE=shop
before=$(fingerprint)
expect 1 restore_tables --at "${moments[3]}" --table orders customers
says "public.orders"
says "--rename"
same "the target is as it was" "$before" "$(fingerprint)"
expect 2 restore_tables --table orders --rename _old --replace
expect 2 restore_tables --table orders --rename "$(printf 'x%.0s' {1..60})"
expect 0 holdfast --json restore database --into "$into" --at "${moments[3]}" --table orders parts --rename _old
same "the rows" true "$(result "[t['rows'] for t in d['tables'] if t['source'] == 'public.orders'] == [2300]")"
same "its name" true "$(result "'public.orders_old' in [t['target'] for t in d['tables']]")"
contents shop orders_old | cmp - "$work/rows.3.0" || fail "orders_old"
contents shop parts_old | cmp - "$work/rows.3.2" || fail "parts_old"
same "indexes have the suffix" 3 "$(sql "select count(*) from pg_class where relname in
  ('orders_pkey_old', 'orders_note_old', 'orders_id_seq_old')")"
same "the table itself is as it was" 0 "$(sql "select count(*) from orders")"

sql "create view cheap as select id from orders where price < 5"
expect 1 restore_tables --at "${moments[3]}" --table orders --replace
says "view"
says "cheap"
sql "drop view cheap"
oid=$(sql "select 'items'::regclass::oid")
expect 0 restore_tables --at "${moments[3]}" --table orders --replace
contents shop orders | cmp - "$work/rows.3.0" || fail "orders, replaced"
diff "$work/shape.0" <(shape shop orders) || fail "the definition of orders, replaced"
same "the foreign key to it is there again" "items_order_fkey $oid" \
  "$(sql "select conname, conrelid from pg_constraint where confrelid = 'orders'::regclass" | tr '|' ' ')"
same "its statistics are there" 1 "$(sql "select count(*) from pg_statistic_ext where stxrelid = 'orders'::regclass
  and stxnamespace = 'public'::regnamespace")"
same "no schema is left" 0 "$(sql "select count(*) from pg_namespace where nspname like 'holdfast%'")"
expect 0 restore_tables --at "${moments[2]}" --table parts
expect 1 restore_tables --at "${moments[1]}" --table parts_1 --replace
says "parts_1"
expect 0 restore_tables --at "${moments[1]}" --table parts --replace
contents shop parts | cmp - "$work/rows.1.2" || fail "parts, replaced"
diff "$work/shape.2" <(shape shop parts) || fail "the definition of parts, replaced"

# ---- What is refused -----------------------------------------------------------------------------
into="host=$work/run user=postgres dbname=elsewhere"
expect 4 restore_tables --only shop --table odres --table public.ordesr
says "public.orders"
expect 4 restore_tables --only shop --at 2001-01-01 --table items
says "recovery window"
expect 4 restore_tables --only shop --at 2999-01-01 --table items
expect 2 restore_tables --table items
says "other one"
expect 1 restore_tables --only shop --table notes
says "unlogged"
PGDATABASE=elsewhere sql "drop table orders; drop type mood"
expect 1 restore_tables --only shop --at "${moments[3]}" --table orders
says "public.mood"
PGDATABASE=elsewhere sql "create type mood as enum ('good', 'bad')"

# ---- Into another server, as somebody who owns the database and no more --------------------------
# (And as root, where the tests run as root: the private server must not.)
initialise "$work/second" </dev/null
start_server "$work/second" 5433
PGPORT=5433 PGDATABASE=postgres sql "create role \"the app\" login password '$password'"
PGPORT=5433 PGDATABASE=postgres sql "create database app owner \"the app\""
echo "local all all scram-sha-256" >"$work/second/pg_hba.conf"
PGPORT=5433 pg pg_ctl -D "$work/second" reload >/dev/null
expect 3 "$program" -c "$config" restore database --only shop --at "${moments[3]}" --table customers \
  --into "postgresql://the%20app:$password@/app?host=$work/run&port=5433"
says "owners and rights are left out"
PGPASSWORD=$password PGUSER='the app' PGPORT=5433 contents app customers | cmp - "$work/rows.3.1" ||
  fail "customers on the second server"
expect 1 holdfast restore database --only shop --table customers --into "postgresql://the%20app:wrong@/app?host=$work/run&port=5433"
says "the target (--into)"
stop_server "$work/second"

# ---- Stopped and killed in the middle ------------------------------------------------------------
no_server() { [[ -z $(pgrep -f "^[^ ]*postgres -D $work/scratch" || true) ]]; }
# begin_restore: one in the background, which waits for a lock in the target: the rows are there, and not
# committed.
begin_restore() {
  "${server_user[@]}" "$program" -c "$config" restore database --only shop --into "$into password=$password" \
    --at "${moments[3]}" --table orders items >"$work/out" 2>"$work/err" &
  running=$!
  wait_for "psql at work" is_true "exists (select from pg_stat_activity where datname = 'elsewhere'
    and wait_event_type = 'Lock')"
}
before=$(PGDATABASE=elsewhere fingerprint)
PGDATABASE=elsewhere sql "begin; lock table customers in access exclusive mode; select pg_sleep(120)" >/dev/null 2>&1 &
blocker=$!
wait_for "the lock" is_true "exists (select from pg_stat_activity where datname = 'elsewhere' and query like '%pg_sleep%'
  and state = 'active')"
begin_restore
for process in /proc/[0-9]*; do
  ! tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q "$password" || fail "the password is in $process/cmdline"
done
kill -TERM "$running"
! wait "$running" || fail "it was not stopped"
[[ -z $(ls -A "$work/scratch") ]] || fail "what was stopped left something"
no_server || fail "what was stopped left its server"
PGDATABASE=postgres sql "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'elsewhere'
  and wait_event_type = 'Lock'" >/dev/null
begin_restore
kill -9 "$running"
wait "$running" 2>/dev/null || true
wait_for "the end of the private server" no_server
PGDATABASE=postgres sql "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'elsewhere'" >/dev/null
wait "$blocker" 2>/dev/null || true
same "the target is as it was" "$before" "$(PGDATABASE=elsewhere fingerprint)"
[[ -n $(ls -A "$work/scratch") ]] || fail "the kill came too late"
expect 0 restore_tables --only shop --at "${moments[3]}" --table orders items
contents elsewhere orders | cmp - "$work/rows.3.0" || fail "orders after the kill"
[[ -z $(ls -A "$work/scratch") ]] || fail "what the killed run left is still there"
! grep -q "$password" "$work/out" "$work/err" || fail "the password was told"

# ---- Of a cluster that writes no images of pages: all of it is restored --------------------------
sql "alter system set full_page_writes = off"
sql "select pg_reload_conf()" >/dev/null
PGDATABASE='other one' sql "checkpoint; update ballast set g = -g where g % 100 = 0"
archive_now
# The backup is from before that: it shows in the replay.
PGDATABASE=elsewhere sql "drop table orders cascade" 2>/dev/null
expect 0 restore_tables --only shop --table orders
says "all of it is restored"
backup
PGDATABASE='other one' sql "checkpoint; update ballast set g = -g where g % 50 = 0"
archive_now
PGDATABASE=elsewhere sql "drop table orders cascade" 2>/dev/null
expect 0 restore_tables --only shop --table orders
! grep "all of it is restored" "$work/err" || fail "it was only found out by trying"
contents elsewhere orders | cmp - <(contents shop orders) || fail "orders, without full_page_writes"

# ---- From a dump ---------------------------------------------------------------------------------
sql "update orders set note = 'in the dump' where id < 10"
contents shop orders >"$work/rows.dump"
for format in custom plain directory; do
  expect 0 holdfast --json dump shop --format "$format"
  dump=$(result 'd["backups"][0]["id"]')
  PGDATABASE=elsewhere sql "drop table orders cascade" 2>/dev/null
  expect 0 "$program" -c "$config" --json restore database --into "$into" --backup "$dump" --table orders
  same "it is from the dump" true "$(result 'd["from_dump"]')"
  contents elsewhere orders | cmp - "$work/rows.dump" || fail "orders from the dump"
done
sql "update orders set note = 'after the dump'"
PGDATABASE=elsewhere sql "drop table orders cascade" 2>/dev/null
moment=$(holdfast --json show "$dump" | python3 -c 'import json, sys; print(json.load(sys.stdin)["dump"]["snapshot_to"])')
expect 0 holdfast --json restore database --only shop --into "$into" --at "$moment" --table orders
same "a dump of the moment is taken" true "$(result 'd["from_dump"]')"
[[ -z $(ls -A "$work/scratch") ]] || fail "something is left in the scratch directory"
