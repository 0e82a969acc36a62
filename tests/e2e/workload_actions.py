"""What the random workload does to a cluster, one function an action. Each takes the source (cluster.py's
Source) and chooses by its seeded rng; what there is to choose from, it asks the server, so that a crash or
an older copy that takes over leaves no wrong idea of it."""

import os

ACTIONS = []  # (weight, function)
INDEXES = {"btree": ("(k)", "(t)", "(id, k)"), "hash": ("(k)", "(t)"), "gin": ("(a)",),
           "gist": ("(p)", "(r)"), "spgist": ("(p)", "(t)", "(r)"),
           "brin": ("(k) with (pages_per_range = 4)", "(id)")}
MOST_MEGABYTES = 80  # of a cluster: then tables are emptied instead of filled


def action(weight):
    def add(function):
        ACTIONS.append((weight, function))
        return function
    return add


def choose_actions(rng, count):
    weights = [weight for weight, _ in ACTIONS]
    return [function for _, function in rng.choices(ACTIONS, weights=weights, k=count)]


# ---- What there is ---------------------------------------------------------------------------------


def some_database(source):
    return source.rng.choice(source.databases())


def tables(source, database, persistence="p"):
    return source.sql(f"""select relname from pg_class where relkind = 'r' and relname ~ '^w_'
                          and relpersistence = '{persistence}' order by 1""", database).split()


def some_table(source):
    """(database, table); one is made where there is none."""
    database = some_database(source)
    found = tables(source, database)
    return (database, source.rng.choice(found)) if found else (database, make_table(source, database))


def has_index(source, database, table, method):
    return source.sql(f"""select count(*) from pg_index join pg_class c on c.oid = indexrelid
                          join pg_am a on a.oid = relam where indrelid = '{table}'::regclass
                          and amname = '{method}'""", database) != "0"


def some_space(source):
    return source.rng.choice(["pg_default"] + source.sql(
        "select spcname from pg_tablespace where spcname ~ '^s_' order by 1").split())


def rows(rng, count):
    """Rows of a workload table, as a query."""
    salt, first = rng.randrange(1 << 30), rng.randrange(100000)
    width = rng.choice((0, 1, 3, 10, 300))  # 300: out of line
    return f"""select g, abs(hashint4(g # {salt}) % 1000), md5((g # {salt})::text),
        (select string_agg(md5((g + i)::text), '') from generate_series(1, {width}) i),
        point(hashint4(g # {salt}) % 10000, hashint4(g # {salt + 1}) % 10000),
        int4range(g, g + 1 + abs(hashint4(g) % 50)), array[g % 17, g % 23 + 100, g % {salt % 900 + 2}]
        from generate_series({first}, {first + count // (50 if width == 300 else 1)}) g"""


def some_rows(rng, one_in):
    return f"abs(hashint4(id # {rng.randrange(1 << 30)}) % {one_in}) = 0"


def how_many(rng):
    return rng.choice((10, 300, 300, 3000, 3000, 15000))


# ---- Rows ------------------------------------------------------------------------------------------


@action(10)
def insert(source):
    database, table = some_table(source)
    if source.megabytes() > MOST_MEGABYTES:
        source.sql(f"truncate {table}", database)
    source.sql(f"insert into {table} {rows(source.rng, how_many(source.rng))}", database)


@action(10)
def update(source):
    database, table = some_table(source)
    column = source.rng.choice(("k = k + 1", "t = md5(t)", "p = point(p[1], p[0])", "body = reverse(body)",
                                "a = a || id"))
    source.sql(f"update {table} set {column} where {some_rows(source.rng, source.rng.choice((3, 50, 900)))}",
               database)


@action(7)
def delete(source):
    database, table = some_table(source)
    source.sql(f"delete from {table} where {some_rows(source.rng, source.rng.choice((2, 30, 900)))}", database)


@action(4)
def bulk_copy(source):
    database, table = some_table(source)
    if source.megabytes() > MOST_MEGABYTES:
        source.sql(f"drop table {table}", database)
        table = make_table(source, database)
    salt = source.rng.randrange(1 << 30)
    lines = (f"{i}\t{(i * salt) % 1000}\t{i ^ salt:x}\t\\N\t({i % 999},{salt % 777})\t[{i},{i + 9})\t"
             f"{{{i % 7},{i % 11}}}\n" for i in range(how_many(source.rng) * 2))
    source.sql(f"copy {table} from stdin;\n{''.join(lines)}\\.\n", database)


@action(4)
def lock_rows(source):
    """Multixacts: a lock and an update of a subtransaction on the same row."""
    database, table = some_table(source)
    which = some_rows(source.rng, 40)
    source.sql(f"""begin; select count(*) from (select 1 from {table} where {which} for key share) x;
                   savepoint a; update {table} set k = k - 1 where {which}; release a;
                   savepoint b; delete from {table} where {which}; rollback to b; commit""", database)


@action(5)
def hint_bits(source):
    database = some_database(source)
    for table in tables(source, database):
        source.sql(f"set enable_indexscan = off; select count(*) from {table}", database)
        source.sql(f"set enable_seqscan = off; select count(t) from {table} where k between 10 and 90", database)


@action(4)
def sequences(source):
    database = some_database(source)
    name = f"q_{source.rng.randrange(4)}"
    source.sql(f"""create sequence if not exists {name};
                   select nextval('{name}') from generate_series(1, {source.rng.randrange(1, 90)})""", database)


@action(4)
def large_objects(source):
    database = some_database(source)
    salt = source.rng.randrange(1000)
    source.sql(f"""select lo_from_bytea(0, decode(repeat(md5('{salt}'), {salt * 5}), 'hex'));
        select lo_put(oid, {salt * 100}, 'changed') from pg_largeobject_metadata where oid::int % 5 = {salt % 5};
        select lo_unlink(oid) from pg_largeobject_metadata where oid::int % 7 = {salt % 7}""", database)


# ---- Transactions ----------------------------------------------------------------------------------


@action(4)
def aborted(source):
    database, table = some_table(source)
    source.sql(f"""begin; create table w_aborted as select * from {table}; create index on w_aborted (k);
                   {source.rng.choice((f'truncate {table};', f'delete from {table};', f'drop table {table};'))}
                   rollback""", database)


@action(3)
def prepare(source):
    database, table = some_table(source)
    if source.sql("select count(*) from pg_prepared_xacts") < "3":
        name = source.new_name("p")
        body = source.rng.choice((
            f"insert into {table} {rows(source.rng, 300)}",
            f"update {table} set k = 0 where {some_rows(source.rng, 30)}",
            f"create table w_{name} as select * from {table}; create index on w_{name} using gist (p)"))
        source.sql(f"begin; {body}; prepare transaction '{name}'", database)


@action(8)
def finish_prepared(source):
    for line in source.sql("select gid, database from pg_prepared_xacts order by 1").split("\n"):
        if line and source.rng.random() < 0.7:
            name, database = line.split("|")
            source.sql(f"{source.rng.choice(('commit', 'rollback'))} prepared '{name}'", database)


# ---- Files that shrink, go and come ----------------------------------------------------------------


@action(6)
def vacuum(source):
    database, table = some_table(source)
    option = source.rng.choice(("", "(freeze)", "(index_cleanup on)", "(analyze)", "(disable_page_skipping)"))
    source.sql(f"vacuum {option} {table}", database)


@action(6)
def cut_tail(source):
    """VACUUM gives the emptied end of a table back; then it may grow again over the same blocks."""
    database, table = some_table(source)
    keep = source.rng.uniform(0.1, 0.8)
    source.sql(f"""delete from {table} where ctid >= format('(%s,1)',
                   (pg_relation_size('{table}') / 8192 * {keep})::int)::tid;
                   vacuum {table}""", database)
    if source.rng.random() < 0.6:
        source.sql(f"insert into {table} {rows(source.rng, how_many(source.rng))}", database)


@action(5)
def truncate(source):
    database, table = some_table(source)
    refill = f"insert into {table} {rows(source.rng, how_many(source.rng))}"
    # Its second truncation would be in place, which an SP-GiST index's cache of pages does not survive
    # ("could not read block"): PostgreSQL's own.
    again = "" if has_index(source, database, table, "spgist") else f"truncate {table}; {refill};"
    twice = f"begin; truncate {table}; {refill}; {again} commit"
    source.sql(source.rng.choice((f"truncate {table}", f"truncate {table}; {refill}", twice)), database)


@action(4)
def create_table(source):
    make_table(source, some_database(source))


def make_table(source, database, kind=""):
    table = source.new_name("w")
    rng = source.rng
    method = rng.choice(list(INDEXES))
    source.sql(f"""create {kind} table {table} (id int, k int, t text, body text, p point, r int4range, a int[])
                   with (fillfactor = {rng.choice((20, 70, 100))}) tablespace {some_space(source)};
                   alter table {table} alter body set storage {rng.choice(('extended', 'external'))};
                   insert into {table} {rows(rng, how_many(rng))};
                   create index on {table} using {method} {rng.choice(INDEXES[method])}""", database)
    return table


@action(4)
def drop_table(source):
    database, table = some_table(source)
    source.sql(f"drop table {table}", database)


@action(4)
def rewrite(source):
    database, table = some_table(source)
    index = source.sql(f"""select indexrelid::regclass from pg_index join pg_class c on c.oid = indexrelid
                           where indrelid = '{table}'::regclass and relam in (403, 783)
                           order by 1 limit 1""", database)
    choices = [f"vacuum full {table}", f"alter table {table} alter k type bigint; "
               f"alter table {table} alter k type int"]
    if index:
        choices.append(f"cluster {table} using {index}")
    source.sql(source.rng.choice(choices), database)


@action(8)
def create_index(source):
    database, table = some_table(source)
    method = source.rng.choice(list(INDEXES))
    source.sql(f"""create index {source.rng.choice(('', 'concurrently'))} on {table} using {method}
                   {source.rng.choice(INDEXES[method])}""", database)


@action(4)
def reindex(source):
    database, table = some_table(source)
    source.sql(source.rng.choice((f"reindex table {table}", f"reindex table concurrently {table}",
                                  "reindex table pg_class")), database)


@action(3)
def drop_index(source):
    database, table = some_table(source)
    index = source.sql(f"select min(indexrelid)::regclass from pg_index where indrelid = '{table}'::regclass",
                       database)
    if index:
        source.sql(f"drop index {index}", database)


@action(3)
def unlogged(source):
    database = some_database(source)
    found = tables(source, database, "u")
    if found and source.rng.random() < 0.7:
        table = source.rng.choice(found)
        source.sql(source.rng.choice((f"insert into {table} {rows(source.rng, 300)}", f"drop table {table}",
                                      f"alter table {table} set logged", f"truncate {table}")), database)
    else:
        make_table(source, database, "unlogged")


@action(1)
def set_unlogged(source):
    database, table = some_table(source)
    source.sql(f"alter table {table} set unlogged", database)


@action(3)
def temporary(source):
    database = some_database(source)
    source.sql(f"""create temp table w_temporary (id int, k int, t text, body text, p point, r int4range, a int[]);
                   insert into w_temporary {rows(source.rng, 3000)};
                   create index on w_temporary using gin (a); checkpoint; drop table w_temporary""", database)


# ---- Databases and tablespaces ---------------------------------------------------------------------


@action(4)
def create_database(source):
    if len(source.databases()) < 4:
        strategy = "" if source.version < 15 else f"strategy {source.rng.choice(('file_copy', 'wal_log'))}"
        template = source.rng.choice(["template1"] + source.databases()[:-1])  # the last is `postgres`
        source.sql(f"create database {source.new_name('d')} template {template} {strategy} "
                   f"tablespace {some_space(source)}", "postgres")


@action(3)
def move_database(source):
    name = source.databases()[0]
    if name != "postgres":
        source.sql(f"alter database {name} set tablespace {some_space(source)}")


@action(2)
def drop_database(source):
    name = source.databases()[0]
    if name != "postgres":
        source.sql(f"drop database {name}")


@action(3)
def create_tablespace(source):
    if source.sql("select count(*) from pg_tablespace") < "5":
        name = source.new_name("s")
        os.makedirs(f"{source.work}/spaces/{name}")
        source.sql(f"create tablespace {name} location '{source.work}/spaces/{name}'")


@action(4)
def move_table(source):
    database, table = some_table(source)
    source.sql(f"alter table {table} set tablespace {some_space(source)}", database)
    if source.rng.random() < 0.4:
        source.sql(f"alter index all in tablespace pg_default set tablespace {some_space(source)}", database)


@action(2)
def drop_tablespace(source):
    name = some_space(source)
    if name != "pg_default":
        source.sql(f"drop tablespace {name}")


# ---- The server and its WAL ------------------------------------------------------------------------


@action(3)
def checkpoint(source):
    source.sql("checkpoint")


@action(3)
def switch_wal(source):
    source.archive_now()


@action(2)
def restart(source):
    source.stop("fast")
    source.start()


@action(3)
def crash(source):
    """With a transaction under way that has created a relation: its files stay behind."""
    if source.rng.random() < 0.5:
        source.hold("begin; create table w_lost as select g from generate_series(1, 5000) g;")
    source.stop("immediate")
    source.start()


@action(3)
def push_twice(source):
    segment = source.an_archived_segment()
    if segment:
        source.holdfast("wal", "push", f"{source.data}/pg_wal/{segment}")


@action(3)
def lose_wal(source):
    """A segment that no restore will need any more is removed from the repository, or damaged: the next
    incremental has to notice. Not always is it still in pg_wal."""
    before = source.archive_now()
    insert(source)
    source.archive_now()
    if source.rng.random() < 0.5:
        for _ in range(3):
            source.sql("checkpoint; select pg_switch_wal(); checkpoint")
    source.damage_archived(before)


@action(2)
def killed_backup(source):
    source.kill_a_backup(source.rng.uniform(0.02, 0.4))


@action(2)
def take_over(source):
    """A copy takes over on a new timeline; what the old one wrote last is lost, though it was archived."""
    source.take_over(source.rng.choice(("restored", "standby")), insert, truncate, cut_tail, update)
