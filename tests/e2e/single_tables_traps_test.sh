#!/usr/bin/env bash
# Single tables where something stands in the way: a restore ends with the right rows or with a refusal, works in
# no server but its own, and takes nothing from the target that nobody named.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

into="host=$work/run port=5432 user=postgres dbname=elsewhere"
# rows DATABASE TABLE [CONDITION]
rows() { PGDATABASE=$1 sql "select count(*) from $2 where ${3-true}"; }
# restore_tables STATUS [ARGUMENTS...]
restore_tables() {
  local status=$1
  shift
  expect "$status" timeout 60 "${server_user[@]}" "$program" -c "$config" --json restore database --into "$into" "$@"
}
# snapshot DUMP: the end of its snapshot
snapshot() { holdfast --json show "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["dump"]["snapshot_to"])'; }

new_stack
sed -i "s|^stack:.*|&\nscratch: $work/scratch|" "$config"
sql "create role app login"
sql "create database shop"
sql "create database elsewhere owner app"
# The target's session is idle while the private server recovers.
sql "alter database elsewhere set idle_session_timeout = '300ms'"
sql "create database latin template template0 encoding LATIN1"
sql "create database raw template template0 encoding SQL_ASCII"
PGDATABASE=latin PGCLIENTENCODING=UTF8 sql 'create table "Ärger" as select g as id from generate_series(1, 9) g'
PGDATABASE=raw sql "create table bytes as select E'caf\\xe9'::text as t"
export PGDATABASE=shop
sql "create table orders (id int constraint orders_key primary key, note text);
create table orders_old (id int primary key);
create index ix on orders (note);
create index ix_old on orders_old (id);
insert into orders select g, 'n' || g from generate_series(1, 1000) g;
create table items (id int primary key, \"order\" int constraint items_order references orders);
comment on constraint items_order on items is 'it''s';
create schema \"a\$holdfast\$b\";
create table \"a\$holdfast\$b\".t as select g as id from generate_series(1, 7) g;
create table parts (id int) partition by list (id);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2);
insert into parts values (1), (2);
create table ext_t as select 1 as id;
create extension pgcrypto;
alter extension pgcrypto add table ext_t;
create function stop() returns event_trigger language plpgsql as \$\$ begin raise 'not here'; end \$\$;
create event trigger stop on ddl_command_start when tag in ('ALTER TABLE', 'ALTER INDEX') execute function stop();
alter event trigger stop enable always;"
backup
# At the first moment nobody gets into template1, no superuser may log in, and the database wants a library that
# is nowhere; all in one session, which goes on.
moment=$(sql "alter database shop set session_preload_libraries = 'a_library_that_is_nowhere';
  alter database template1 allow_connections false;
  alter role postgres nologin;
  select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"');
  alter role postgres login;
  alter database template1 allow_connections true;
  alter database shop reset session_preload_libraries;
  alter event trigger stop disable;" | tail -n 1)
sql "insert into orders select g, 'later' from generate_series(1001, 1010) g"
later=$(server_time)
archive_now

# ---- What the private server must overcome -------------------------------------------------------
restore_tables 0 --only shop --at "$moment" --table orders
same "the rows of that moment" 1000 "$(rows elsewhere orders)"
restore_tables 0 --only latin --table '"Ärger"'
same "its end is told" true "$(result 'd["reached"]["lsn"] != "" and d["to"] == "elsewhere"')"
same "the name arrived as it was" 9 "$(rows elsewhere '"Ärger"')"

# ---- Beside what is there, where the source has such names itself ---------------------------------
restore_tables 0 --only shop --at "$later" --table orders orders_old --rename _old
same "orders is orders_old" 1010 "$(rows elsewhere orders_old)"
same "and orders_old has another" 0 "$(rows elsewhere orders_old_old)"
same "indexes too" "ix ix_old ix_old_old" "$(PGDATABASE=elsewhere sql "select string_agg(relname, ' ' order by 1)
  from pg_class where relname like 'ix%'")"

# ---- In its place --------------------------------------------------------------------------------
into="host=$work/run user=postgres dbname=shop"
expect 0 holdfast --json restore database --into "$into" --at "$moment" --table orders '"a$holdfast$b".t' --replace
same "replaced" "1000 7" "$(rows shop orders) $(rows shop '"a$holdfast$b".t')"
same "the foreign key has its comment" "it's" \
  "$(sql "select obj_description(oid) from pg_constraint where conname = 'items_order'")"
sql "alter table items disable trigger all"
restore_tables 3 --at "$moment" --table orders --replace
says "items_order"
sql "alter table parts detach partition parts_1; insert into parts_1 values (100)"
restore_tables 1 --at "$moment" --table parts --replace
says "public.parts_1"
same "what stands alone stays" "1,100" "$(sql "select string_agg(id::text, ',' order by id) from parts_1")"
sql "create table parts_9 partition of parts for values in (9); insert into parts values (9);
  alter table parts attach partition parts_1 for values in (1, 100)"
restore_tables 1 --at "$moment" --table parts --replace
says "parts_9"
same "new partitions stay" 4 "$(rows shop parts)"
sql "alter table parts detach partition parts_9"
restore_tables 0 --at "$moment" --table parts --replace
same "what is left has another's place" "2 1" "$(rows shop parts) $(rows shop parts_9)"
PGDATABASE=elsewhere sql "drop table orders; create table orders (); alter table orders owner to app;
  alter database elsewhere owner to postgres"
into="host=$work/run user=app dbname=elsewhere"
restore_tables 1 --only shop --table orders --replace
says "make schemas"
! grep -q "it will need" "$work/err" || fail "it was refused only after the work"
into="host=$work/run user=postgres dbname=elsewhere"
PGDATABASE=elsewhere sql "drop table orders"

# ---- What is refused -----------------------------------------------------------------------------
restore_tables 1 --only shop --table ext_t
says "pgcrypto"
restore_tables 4 --only nodb --table orders --backup "$backup"
! grep -q "it will need" "$work/err" || fail "the backup's list of databases was not asked"
restore_tables 4 --only nodb --table orders
says "nodb"
restore_tables 3 --only shop --table items
says "items_order"

# ---- Dumps ---------------------------------------------------------------------------------------
expect 0 holdfast --json dump shop
dump=$(result 'd["backups"][0]["id"]')
sql "delete from orders where id > 500"
moment=$(server_time) # in the same second
archive_now
restore_tables 0 --only shop --at "$moment" --table orders
same "a dump is not taken for the second that it is of" "false 500" "$(result 'd["from_dump"]') $(rows elsewhere orders)"
expect 0 holdfast --json dump raw
dump=$(result 'd["backups"][0]["id"]')
PGDATABASE=postgres sql "create database raw_again template template0 encoding SQL_ASCII"
into="host=$work/run user=postgres dbname=raw_again"
restore_tables 0 --backup "$dump" --table bytes
same "bytes of no encoding" "636166e9" "$(PGDATABASE=raw_again sql "select encode(convert_to(t, 'SQL_ASCII'), 'hex') from bytes")"
# One that cannot be loaded: what its table calls is not on the search path then.
sql "create function number() returns bigint language sql as 'select count(*) from orders';
  create table broken (id int check (number() >= 0)); insert into broken values (1)"
expect 0 holdfast --json dump shop
dump=$(result 'd["backups"][0]["id"]')
archive_now
PGDATABASE=elsewhere sql "drop table orders"
into="host=$work/run user=postgres dbname=elsewhere"
restore_tables 1 --only shop --backup "$dump" --table orders
restore_tables 0 --only shop --at "$(snapshot "$dump")" --table orders
says "instead of the dump"
same "the backup instead" "false 500" "$(result 'd["from_dump"]') $(rows elsewhere orders)"

# ---- A server that libpq's variables lead to ------------------------------------------------------
# It has all names that the backup has; the target is in it as well.
address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250)).1
initialise "$work/other" </dev/null
start_server "$work/other" 5432 "-c listen_addresses=$address -c unix_socket_directories=''" \
  "-c external_pid_file=''"
(
  export PGHOST=$address PGDATABASE=postgres
  echo "host all all $address/32 trust" >>"$work/other/pg_hba.conf"
  pg pg_ctl -D "$work/other" reload >/dev/null
  sql "create database shop"
  sql "create database elsewhere"
  PGDATABASE=shop sql "create table orders as select 1 as id; create table items as select 1 as id"
  PGDATABASE=shop fingerprint >"$work/before"
)
into="hostaddr=$address port=5432 user=postgres dbname=elsewhere"
printf '[other]\nhostaddr=%s\n' "$address" >"$work/services"
chmod 644 "$work/services"
PGHOSTADDR=$address restore_tables 0 --only shop --table orders
PGSERVICE=other PGSERVICEFILE=$work/services PGSYSCONFDIR=/ PGGSSENCMODE=disable PGREQUIREPEER=nobody \
  restore_tables 0 --only shop --table items
PGHOST=$address PGDATABASE=shop fingerprint | cmp - "$work/before" || fail "the other server was worked in"
same "the rows are the backup's" 500 "$(PGHOST=$address rows elsewhere orders)"
PGHOSTADDR=$address expect 0 timeout 60 "${server_user[@]}" "$program" -c "$config" --json \
  restore database --to "$work/restored" --start
same "the restored server was asked" true "$(result 'd["reached"]["lsn"] != ""')"
[[ -z $(ls -A "$work/scratch") ]] || fail "something is left in the scratch directory"
