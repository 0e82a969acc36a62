#!/usr/bin/env bash
# Logical dumps: what pg_dump gave comes back to pg_restore and psql as it was; what failed, was killed or
# shows too much is never stored; and no password is seen on the way.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
scratch=$work/scratch
echo "scratch: $scratch" >>"$config"
canary="c4nary-$RANDOM$RANDOM"

# ---- The databases -------------------------------------------------------------------------------

sql "create role seller login; create role clerk; grant clerk to seller;
     create role backup login superuser password '$canary'"
sql "create database shop owner seller"
odd='We ird/"Db"'
sql "create database \"We ird/\"\"Db\"\"\""
PGDATABASE=shop sql "
  create schema sales authorization seller; create schema \"Odd Schema\";
  create type sales.state as enum ('new', 'paid');
  create table sales.customers (id int generated always as identity primary key, name text not null,
    mother int references sales.customers, doubled int generated always as (length(name) * 2) stored);
  create table sales.orders (id bigserial primary key, customer int references sales.customers,
    state sales.state default 'new', at timestamptz, note text, blob bytea, price numeric(12,2)) partition by range (id);
  create table sales.orders_1 partition of sales.orders for values from (1) to (5001);
  create table sales.orders_2 partition of sales.orders default;
  insert into sales.customers (name, mother) select 'c' || g, nullif(g - 1, 0) from generate_series(1, 500) g;
  insert into sales.orders (customer, state, at, note, blob, price)
    select g % 500 + 1, case g % 2 when 0 then 'new' else 'paid' end::sales.state, '2024-01-17'::timestamptz + g * '1s'::interval,
           case g % 3 when 0 then null when 1 then E'tab\\tline\\nback\\\\slash' else 'naïve €' end,
           sha256(g::text::bytea), g / 7.0 from generate_series(1, 10000) g;
  create table \"Odd Schema\".\"We ird.Tab\" (\"a b\" int, \"select\" text);
  insert into \"Odd Schema\".\"We ird.Tab\" values (1, '--'), (2, '\\.');
  create index on sales.orders (at); create view sales.paid as select * from sales.orders where state = 'paid';
  create materialized view sales.sums as select customer, sum(price) from sales.orders group by 1;
  create function sales.twice(int) returns int language sql as 'select \$1 * 2';
  grant select on sales.orders to clerk; alter database shop set work_mem = '8MB';
  select lo_from_bytea(0, convert_to(repeat('large object ', 50000), 'UTF8')), lo_from_bytea(0, '\\x00');
  select setval('sales.orders_id_seq', 70000)" >/dev/null
PGDATABASE=$odd sql "create table t as select generate_series(1, 1000) as id"

dump_of() { pg pg_dump -h "$PGHOST" -p "${PGPORT}" "$1" | grep -vE '^\\(un)?restrict '; }
dump_of shop >"$work/shop.expected"
dump_of "$odd" >"$work/odd.expected"

dump() { # dump ARGUMENTS...: a dump that must succeed; its id is in $dump.
  expect "${want:-0}" holdfast --json dump "$@"
  dump=$(result 'd["backups"][0]["id"]')
}
loaded=0
load() { # load PROGRAM ARGUMENTS...: into a new database, $loaded_into
  loaded_into=loaded_$((++loaded))
  sql "create database $loaded_into template template0"
  pg "$1" -h "$PGHOST" -p 5432 -d "$loaded_into" "${@:2}" >"$work/out" 2>"$work/err" || fail "$*"
}
count_dumps() { objects backups/database. | wc -l; }

# ---- Every format, there and back ----------------------------------------------------------------

for format in custom plain directory; do
  parallel=()
  [[ $format != directory ]] || parallel=(-j 3)
  dump shop --format $format "${parallel[@]}"
  same "the type" dump "$(result 'd["backups"][0]["type"]')"
  same "the format" $format "$(result 'd["backups"][0]["dump"]["format"]')"
  expect 0 holdfast restore database.shop --to "$work/back-$format"
  case $format in
    custom)
      says "pg_restore -d 'shop' '$work/back-custom/shop.dump'"
      load pg_restore --exit-on-error "$work/back-custom/shop.dump"
      ;;
    plain) load psql -v ON_ERROR_STOP=1 -qXf "$work/back-plain/shop.sql" ;;
    directory) load pg_restore --exit-on-error -j 2 "$work/back-directory/shop" ;;
  esac
  dump_of "$loaded_into" | cmp - "$work/shop.expected" || fail "$format came back otherwise"
  grep -q "CREATE ROLE seller" "$work/back-$format/globals.sql" || fail "no roles"
  grep -q "SCRAM-SHA-256" "$work/back-$format/globals.sql" || fail "roles without passwords"
  [[ -z $(compgen -G "$scratch/holdfast-dump-*") ]] || fail "the scratch directory is left"

  file=shop.dump
  [[ $format != plain ]] || file=shop.sql
  [[ $format != directory ]] || file=shop/toc.dat
  holdfast cat "$dump" "$file" | cmp - "$work/back-$format/$file" || fail "cat gave something else"
done
sql "create database by_cat template template0"
mapfile -t stored_dumps < <(objects backups/database.shop/)
holdfast cat "${stored_dumps[0]##*/}" shop.dump | pg pg_restore -h "$PGHOST" -p 5432 -d by_cat || fail "cat, pg_restore"
dump_of by_cat | cmp - "$work/shop.expected" || fail "by cat it came back otherwise"

dump "$odd"
component=$(result 'd["backups"][0]["component"]')
[[ $component =~ ^database\.[a-z0-9_.-]+$ ]] || fail "a component called $component"
expect 0 holdfast restore "$component" --to "$work/back-odd"
load pg_restore --exit-on-error "$work"/back-odd/*.dump
dump_of "$loaded_into" | cmp - "$work/odd.expected" || fail "the odd database came back otherwise"

dump shop --format plain --table 'sales.cust*' --table '"Odd Schema"."We ird.Tab"'
expect 0 holdfast restore database.shop --to "$work/back-tables"
same "the tables" $'"Odd Schema"."We ird.Tab"\nsales.customers' \
  "$(sed -n 's/^CREATE TABLE \(.*\) ($/\1/p' "$work/back-tables/shop.sql" | sort)"

expect 0 holdfast verify --all
expect 0 holdfast --json list database.shop
same "the dumps in the list" 4 "$(result 'len(d["backups"])')"
same "the window" "false" "$(result 'd["windows"]["database.shop"]["continuous"]')"
expect 0 holdfast list database.shop
says "database.shop: the ends of its backups, from "
! grep -q WAL "$work/out" || fail "it speaks of the WAL of dumps: $(grep WAL "$work/out")"
expect 4 holdfast restore database.shop --to "$work/none" --at 2001-01-01
expect 2 holdfast restore database.shop --to "$work/none" --lsn 0/1
[[ ! -e $work/none ]] || fail "something was written"

# Names that look like connection strings.
for name in "a=b" "host=nowhere dbname=x"; do
  sql "create database \"$name\""
  dump "$name" --format directory -j 2
done

# ---- What must not be stored ---------------------------------------------------------------------

before=$(count_dumps)
expect 1 holdfast --json dump nosuch
says nosuch
expect 1 holdfast dump shop --table nosuch
says "no matching tables"
expect 1 holdfast dump shop --table sales.orders --table sales.typo
says sales.typo
expect 2 holdfast dump ""
expect 2 holdfast dump shop --table ""
expect 2 holdfast dump shop -j 2
expect 2 holdfast dump shop --format tar
cp "$config" "$work/superuser.yaml"
sed -i 's/user=postgres/user=seller/' "$config"
sql "create database closed; grant connect on database closed to seller"
PGDATABASE=closed sql "create table hidden ()"
expect 1 holdfast dump closed
says "permission denied"
same "the dumps" "$before" "$(count_dumps)"
# The owner of a database needs no more than that.
sql "create database own owner seller"
PGDATABASE=own PGUSER=seller sql "create table mine as select 1 as id"
want=3 dump own
says "without their passwords"
cp "$work/superuser.yaml" "$config"

waits_for_table() { is_true "exists (select from pg_stat_activity where wait_event_type = 'Lock')"; }

# Killed in the middle: pg_dump, and then the program itself.
PGDATABASE=shop fill ballast 60
for format in custom directory; do
  before=$(count_dumps)
  if [[ $format == custom ]]; then
    packs=$(count_packs)
    "${server_user[@]}" "$program" -c "$config" dump shop >"$work/background.out" 2>"$work/background.err" &
    pid=$!
    in_repository stop-at packs/ $((packs + 1)) "$pid" || fail "it ended early: $(cat "$work/background.err")"
    pkill -KILL -P "$pid" -f pg_dump || fail "no pg_dump runs"
    kill -CONT "$pid"
  else # while it waits for a table
    psql -d shop -qc "begin; lock table ballast; select pg_sleep(600)" >/dev/null 2>&1 &
    wait_for "the lock" is_true "exists (select from pg_stat_activity where wait_event = 'PgSleep')"
    "${server_user[@]}" "$program" -c "$config" dump shop --format directory >"$work/background.out" 2>"$work/background.err" &
    pid=$!
    wait_for "pg_dump" waits_for_table
    pkill -KILL -P "$pid" -f pg_dump || fail "no pg_dump runs"
    # The server does not see that its client has gone.
    sql "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'" >/dev/null
  fi
  status=0
  wait "$pid" || status=$?
  same "the exit status" 1 "$status"
  grep -q "killed by signal 9" "$work/background.err" || fail "it does not say that pg_dump was killed"
  same "the dumps" "$before" "$(count_dumps)"
  [[ -z $(compgen -G "$scratch/holdfast-dump-*") ]] || fail "the scratch directory is left"
done
"${server_user[@]}" "$program" -c "$config" dump shop --format directory >"$work/background.out" 2>"$work/background.err" &
pid=$!
wait_for "pg_dump" waits_for_table
kill -KILL "$pid"
wait "$pid" || true
wait_for "pg_dump's end" eval '! waits_for_table'
[[ -n $(compgen -G "$scratch/holdfast-dump-*") ]] || fail "the killed run left nothing: what is tested here?"
sql "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()" >/dev/null
dump shop --format directory
[[ -z $(compgen -G "$scratch/holdfast-dump-*") ]] || fail "what the killed run left is still there"
same "the dumps" $((before + 1)) "$(count_dumps)"

# ---- A password is seen by nobody ----------------------------------------------------------------

sed -i '1i local all backup scram-sha-256' "$data/pg_hba.conf"
sql "select pg_reload_conf()" >/dev/null
sed -i "s/user=postgres/user=backup password=$canary/" "$config"
cat >"$work/watch.py" <<'END'
import glob, os, sys
canary, seen = open(sys.argv[1]).read().strip().encode(), 0
while True:
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            line = open(name, "rb").read()
        except OSError:
            continue
        seen += b"pg_dump" in line
        if canary in line:
            print("FOUND", line, flush=True)
    with open(sys.argv[2] + ".new", "w") as file:
        file.write(str(seen))
    os.rename(file.name, sys.argv[2])
END
echo "$canary" >"$work/canary"
python3 "$work/watch.py" "$work/canary" "$work/seen" >"$work/watch.out" 2>&1 &
watcher=$!
wait_for "the watcher" test -s "$work/seen"
for arguments in "" "--format plain" "--format directory -j 2"; do
  # shellcheck disable=SC2086
  expect 0 holdfast -v --json dump shop $arguments
  ! grep -qf "$work/canary" "$work/out" "$work/err" || fail "the password is in what it says"
done
expect 1 holdfast -v --json dump shop --table nosuch
! grep -qf "$work/canary" "$work/out" "$work/err" || fail "the password is in an error"
kill "$watcher"
[[ ! -s $work/watch.out ]] || fail "the password was seen: $(head -n 1 "$work/watch.out")"
(($(cat "$work/seen") > 0)) || fail "the watcher saw no pg_dump"
# Nor a part of one that libpq takes for something else.
cp "$config" "$work/canary.yaml"
for wrong in "host=$work/run password=my $canary" "postgresql://backup:pa@$canary@/shop" "postgresql://backup:$canary/shop"; do
  sed "s|connection: .*|connection: \"$wrong\"|" "$work/canary.yaml" >"$config"
  for command in "dump shop" "backup database" "-v check"; do
    # shellcheck disable=SC2086
    holdfast $command >"$work/out" 2>"$work/err" && fail "$command with a wrong connection"
    ! grep -qf "$work/canary" "$work/out" "$work/err" || fail "$command: a part of the password is in an error"
  done
  cp "$work/canary.yaml" "$config"
  expect 2 holdfast restore database --table public.t --into "$wrong"
  ! grep -qf "$work/canary" "$work/out" "$work/err" || fail "a part of the password is in an error of --into"
done
cp "$work/superuser.yaml" "$config"

# ---- A standby, dumps of a full backup, and ten days ---------------------------------------------

pg pg_basebackup -h "$PGHOST" -p 5432 -D "$work/standby" -R -c fast -X stream --no-sync 2>"$work/err"
start_server "$work/standby" 5433 -c archive_mode=off
sed -i "s/port=5432/port=5433/" "$config"
dump "$odd"
stop_server "$work/standby"

sed -e "s/\(connection: .*\)/\1\n    dumps: [shop, nosuch]/" "$work/superuser.yaml" >"$config"
expect 1 holdfast --json backup database
same "what was done" '["database", "database.shop"]' "$(result '[b["component"] for b in d["backups"]]')"
same "what failed" '["database.nosuch"]' "$(result '[f["component"] for f in d["failed"]]')"
expect 0 holdfast backup database --kind incremental
cp "$work/superuser.yaml" "$config"

sql "create database daily"
PGDATABASE=daily fill orders 60
rows=360000
for day in 1 2 3 4 5 6 7 8 9 10; do
  dump daily
  stored=$(result 'd["backups"][0]["bytes_stored"]')
  ((day > 1)) || first=$stored
  sum=$((${sum:-0} + stored))
  PGDATABASE=daily sql "
    update orders set data = sha512(('$day' || id)::bytea) || sha512(data) where id between $((day * 31000)) and $((day * 31000 + rows / 200));
    insert into orders select g, sha512(('new' || g)::bytea) || sha512(g::text::bytea)
      from generate_series((select max(id) from orders) + 1, (select max(id) from orders) + $((rows / 200))) g;
    vacuum orders"
done
echo "ten days: $((sum * 100 / first)) % of one"
((sum * 2 < first * 3)) || fail "ten dumps take $sum bytes, one $first"
expect 0 holdfast verify "$dump"

# Single rows here and there: each chunk of the first dump changes every day.
sql "create database scattered"
PGDATABASE=scattered sql "
  create table accounts as select g as id, g % 7 as branch, 0 as balance, md5(g::text) || md5('x' || g) || md5('y' || g) as filler
    from generate_series(1, 100000) g;
  alter table accounts add primary key (id)"
sum=0
for day in 1 2 3 4 5 6 7 8 9 10; do
  dump scattered
  stored=$(result 'd["backups"][0]["bytes_stored"]')
  same "the kind" full "$(result 'd["backups"][0]["kind"]')"
  ((day > 1)) || first=$stored
  sum=$((sum + stored))
  dump_of scattered >"$work/scattered.expected"
  PGDATABASE=scattered sql "
    update accounts set balance = balance + $day, filler = md5('$day' || id) || substr(filler, 33)
      where (hashint4(id) & 65535) % 100 = $day"
  ((day % 2 == 0)) || PGDATABASE=scattered sql "vacuum accounts"
done
echo "ten days of scattered changes: $((sum * 100 / first)) % of one"
((sum * 2 < first * 3)) || fail "ten dumps of scattered changes take $sum bytes, one $first"
expect 0 holdfast verify "$dump"
sql "create database by_ranges template template0"
holdfast cat "$dump" scattered.dump | pg pg_restore --exit-on-error -h "$PGHOST" -p 5432 -d by_ranges || fail "cat, pg_restore"
dump_of by_ranges | cmp - "$work/scattered.expected" || fail "the tenth dump came back otherwise"
expect 0 holdfast restore database.scattered --to "$work/back-scattered"
holdfast cat "$dump" scattered.dump | cmp - "$work/back-scattered/scattered.dump" || fail "cat and restore differ"
for format in plain directory; do
  dump scattered --format $format
  PGDATABASE=scattered sql "update accounts set balance = 77 where (hashint4(id) & 65535) % 100 = 77"
  dump scattered --format $format
  stored=$(result 'd["backups"][0]["bytes_stored"]')
  ((stored * 10 < first)) || fail "1 % of changes in the $format format take $stored bytes, a first dump $first"
  expect 0 holdfast restore database.scattered --to "$work/back-scattered-$format"
  dump_of scattered >"$work/scattered.expected"
  case $format in
    plain) load psql -v ON_ERROR_STOP=1 -qXf "$work/back-scattered-plain/scattered.sql" ;;
    directory) load pg_restore --exit-on-error "$work/back-scattered-directory/scattered" ;;
  esac
  dump_of "$loaded_into" | cmp - "$work/scattered.expected" || fail "the $format format came back otherwise"
done
