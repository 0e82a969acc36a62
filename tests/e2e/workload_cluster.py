"""The servers of the random workload: the source, which archives with holdfast, and restored copies."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import objects
from page_compare import Relation

# What an action may run into by what earlier ones left, a prepared transaction above all.
REFUSALS = re.compile("lock timeout|being accessed by other users|used by prepared transactions|"
                      "is not empty|already has some tables in this tablespace|"
                      "source database .* is being|already in tablespace|"
                      "deadlock detected|some relations of database .* are already in tablespace|"
                      "prepared transaction with identifier .* does not exist|"
                      "cannot be executed from .* pending trigger")


class Failure(Exception):
    """The judge's verdict: not exact, or a command that had to succeed did not."""


class Refused(Exception):
    """The server would not do this now."""


class Server:
    def __init__(self, setting, data, port):
        self.setting, self.data, self.port = setting, data, port
        self.work, self.version = setting.work, setting.version

    def run(self, *command, ok=(0,), text=None, env=None):
        """Its output; anything but an exit status in ok is a Failure."""
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False,
                              env=dict(os.environ, PGPORT=str(self.port), **(env or {})))
        self.setting.log(f"$ {' '.join(command)} → {done.returncode} {done.stderr[-2000:]}")
        if done.returncode not in ok:
            raise Failure(f"«{' '.join(command)}» exited with {done.returncode}:\n"
                          f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def pg(self, name, *arguments, **options):
        return self.run(f"{self.setting.bin}/{name}", *arguments, **options)

    def start(self, *options):
        self.pg("pg_ctl", "-D", self.data, "-l", f"{self.data}.log", "-w", "-t", "120", "-o",
                " ".join((f"-p {self.port}",) + options), "start")

    def stop(self, mode="fast"):
        self.pg("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "120", "stop")

    def sql(self, text, database="postgres"):
        self.setting.log(f"{self.port} {database}: {text[:2000]}")
        done = subprocess.run(
            [f"{self.setting.bin}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database], input=text,
            capture_output=True, text=True, check=False,
            env=dict(os.environ, PGPORT=str(self.port), PGOPTIONS="-c lock_timeout=300ms"))
        if done.returncode:
            if REFUSALS.search(done.stderr):
                raise Refused(done.stderr.strip().split("\n")[0])
            raise Failure(f"in {database}: «{text[:600]}»:\n{done.stderr}")
        return done.stdout.strip()

    def wait_for(self, what, condition):
        end = time.monotonic() + 60
        while not condition():
            if time.monotonic() > end:
                raise Failure(f"waited a minute for {what}")
            time.sleep(0.03)

    def databases(self):
        """Those that can be connected to, in a fixed order; postgres is the last, template1 not among them."""
        found = self.sql("select datname from pg_database where datname ~ '^d_' and datallowconn order by 1")
        return found.split() + ["postgres"]

    def relations(self):
        """The main forks that the catalogs know of, of every database."""
        found = {}
        for database in self.databases() + ["template1"]:
            lines = self.sql("""
                select pg_relation_filepath(c.oid), c.oid::regclass, c.relpersistence,
                       case when relkind = 'S' then 'sequence' else coalesce(amname, 'heap') end
                from pg_class c left join pg_am a on a.oid = relam
                where pg_relation_filepath(c.oid) is not null and relpersistence <> 't'""", database)
            for line in lines.split("\n"):
                path, name, persistence, method = line.split("|")
                found[path] = Relation(path, f"{database}.{name}", method, persistence == "u")
        return sorted(found.values())

    def dump(self):
        """(pg_dumpall's lines, {sequence: value}): values apart, since they may be ahead after recovery."""
        lines, values = [], {}
        for line in self.pg("pg_dumpall", "--no-unlogged-table-data").split("\n"):
            match = re.match(r"SELECT pg_catalog.setval\('(.*)', (\d+), (\w+)\)", line)
            if match:
                values[len(lines), match[1]] = int(match[2]) - (match[3] == "false")
            elif not re.match(r"\\(un)?restrict ", line):
                lines.append(re.sub(r"^(CREATE TABLESPACE .*) LOCATION '.*'", r"\1", line))
        return lines, values


class Source(Server):
    """The cluster that is worked on and backed up."""

    def __init__(self, setting, data):
        super().__init__(setting, data, 5432)
        self.rng = setting.rng
        self.held, self.load = [], []
        self.names = 0
        self.damaged = set()  # archived segments
        self.backed_up = self.lost_wal = False  # is there a backup; is its WAL broken since then

    def new_name(self, kind):
        self.names += 1
        return f"{kind}_{self.names}"

    def megabytes(self):
        return int(self.sql("select sum(pg_database_size(oid)) / 1048576 from pg_database"
                            " where datname !~ '^template'").split(".")[0]) - 8 * len(self.databases())

    def start(self, *options):
        super().start(*options)
        self.held = []

    def stop(self, mode="fast"):
        super().stop(mode)
        for process in self.held + self.load:
            process.kill()
            process.communicate()
        self.held, self.load = [], []

    # ---- Sessions beside ----

    def hold(self, text):
        """A session that runs this and stays."""
        name = self.new_name("held")
        process = subprocess.Popen(
            [f"{self.setting.bin}/psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, text=True, env=dict(os.environ, PGAPPNAME=name))
        process.stdin.write(text + "\n")
        process.stdin.flush()
        self.held.append(process)
        self.wait_for(name, lambda: self.sql(
            f"select state from pg_stat_activity where application_name = '{name}'").startswith("idle"))

    def start_load(self):
        """What goes on while a backup runs: pgbench, tables that come and go, a temporary table."""
        churn = f"{self.work}/churn.sql"
        with open(churn, "w", encoding="ascii") as file:
            file.write("""\\set n random(1, 400)
begin; truncate churn; insert into churn select g, repeat('x', :n) from generate_series(1, :n) g; commit;
drop table if exists churn_:n; create table churn_:n (a int primary key); insert into churn_:n select generate_series(1, :n);
delete from churn where a > :n / 2; vacuum churn; drop table churn_:n;
insert into churn select g, 'y' from generate_series(1, :n) g; reindex table churn;\n""")
        self.sql("create table if not exists churn (a int, b text)")
        self.hold("create temp table w_held as select g from generate_series(1, 20000) g; checkpoint;")
        seed = f"--random-seed={self.rng.randrange(1 << 30)}"
        for arguments in (("-c", "2", seed), ("-c", "1", seed, "-f", churn)):
            self.load.append(subprocess.Popen(
                [f"{self.setting.bin}/pgbench", "-n", "-T", "600", *arguments],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env=dict(os.environ, PGOPTIONS="-c client_min_messages=warning")))
        self.wait_for("the load", lambda: int(self.sql(
            "select count(*) from pg_stat_activity where application_name = 'pgbench'")) >= 3)

    def end_load(self):
        for process in self.load:
            if process.poll() is not None:
                raise Failure(f"the load has ended by itself: {process.stderr.read()[-1000:]}")
        for process in self.load + self.held:
            process.kill()
            process.communicate()
        self.load, self.held = [], []
        self.wait_for("the load to end", lambda: self.sql(
            "select count(*) from pg_stat_activity where backend_type = 'client backend'") == "1")

    # ---- WAL ----

    def archive_now(self):
        """Ends the segment, waits until it is archived, and returns its name."""
        # Where there is nothing to end, nothing would come.
        segment = self.sql("""do $$ begin perform pg_create_restore_point('end'); end $$;
                              select pg_walfile_name(pg_switch_wal())""")
        status = f"{self.data}/pg_wal/archive_status/{segment}"
        self.wait_for(f"{segment} in the archive", lambda: os.path.exists(status + ".done") or not (
            os.path.exists(status + ".ready") or os.path.exists(f"{self.data}/pg_wal/{segment}")))
        return segment

    def an_archived_segment(self):
        names = [name[:-5] for name in sorted(os.listdir(f"{self.data}/pg_wal/archive_status"))
                 if re.fullmatch(r"[0-9A-F]{24}\.done", name)]
        names = [name for name in names
                 if name not in self.damaged and os.path.exists(f"{self.data}/pg_wal/{name}")]
        return self.rng.choice(names) if names else None

    def damage_archived(self, segment):
        """Removes an archived segment, or flips a bit of it."""
        repository = objects.open_location(self.setting.repository)
        name = next((name for name, _, _ in repository.list("wal/") if name.endswith(f"/{segment}")), None)
        if not name:
            raise Failure(f"{segment} is said to be archived, and is not in the repository")
        self.damaged.add(segment)
        self.lost_wal = True
        if self.rng.random() < 0.5:
            repository.remove(name)
            return
        content = bytearray(repository.get(name))
        place = self.rng.choice((16, 300, len(content) - 20, self.rng.randrange(len(content))))
        content[place] ^= 1 << self.rng.randrange(8)
        repository.put(name, bytes(content))

    # ---- holdfast ----

    def holdfast(self, *arguments, ok=(0,)):
        return self.run(self.setting.program, "-c", self.setting.config, *arguments, ok=ok)

    def backup(self, kind, ok=(0,)):
        result = json.loads(self.holdfast("--json", "backup", "database", "--kind", kind, ok=ok))
        self.backed_up, self.lost_wal = True, False
        return result["backups"][0]

    def restore(self, directory, *arguments, spaces=None):
        """A restore to directory, tablespaces beside it or in spaces; the result's JSON."""
        mapping = []
        for line in self.sql("""select oid, pg_tablespace_location(oid) from pg_tablespace
                                where spcname ~ '^s_'""").split():
            oid, location = line.split("|")
            mapping += ["--tablespace", f"{location}={spaces or directory + '.spaces'}/{oid}"]
        return json.loads(self.holdfast("--json", "restore", "database", "--to", directory, *mapping,
                                        *arguments))

    def kill_a_backup(self, after_seconds):
        process = subprocess.Popen(
            [self.setting.program, "-c", self.setting.config, "-q", "backup", "database", "--kind",
             "incremental"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after_seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            self.backed_up, self.lost_wal = True, False

    # ---- A copy takes over ----

    def take_over(self, how, *changes):
        if how == "restored" and (not self.backed_up or self.lost_wal):
            raise Refused("there is no unbroken WAL from a backup on")
        if self.sql("select count(*) from pg_prepared_xacts") != "0":
            raise Refused("there is a prepared transaction")
        copy = f"{self.data}.copy"
        if how == "restored":
            target = self.sql("select pg_current_wal_flush_lsn()")
        else:
            self.make_standby(copy)
        for change in self.rng.sample(changes, 2):  # lost, if archived
            change(self)
        self.archive_now()
        if how == "restored":
            self.restore(copy, "--lsn", target, spaces=f"{self.work}/spaces/{self.new_name('taken')}")
            self.stop()
        else:
            self.stop(self.rng.choice(("fast", "immediate")))
        shutil.rmtree(self.data)
        os.rename(copy, self.data)
        self.start()
        if how == "standby":
            self.pg("pg_ctl", "-D", self.data, "-w", "promote")
        self.wait_for("the promotion", lambda: self.sql("select pg_is_in_recovery()") == "f")

    def make_standby(self, copy):
        """A standby that has stopped following: what comes now reaches the archive, but not it."""
        mapping = []
        for place in self.sql("select pg_tablespace_location(oid) from pg_tablespace"
                              " where spcname ~ '^s_'").split():
            mapping += ["-T", f"{place}={self.work}/spaces/{self.new_name('moved')}"]
        self.pg("pg_basebackup", "-D", copy, "-R", "-c", "fast", "-X", "stream", *mapping)
        with open(f"{copy}/postgresql.auto.conf", "a", encoding="ascii") as file:
            # An earlier restore's target is still there, and a standby would stop at it.
            file.write("recovery_target_timeline = 'latest'\nrecovery_target_lsn = ''\n")
        standby = Server(self.setting, copy, 5433)
        standby.start()
        here = self.sql("select pg_current_wal_flush_lsn()")
        standby.wait_for("the standby", lambda: standby.sql(
            f"select coalesce(pg_last_wal_replay_lsn() >= '{here}', false)") == "t")
        standby.stop()
        with open(f"{copy}/postgresql.auto.conf", "a", encoding="ascii") as file:
            file.write("primary_conninfo = ''\nrestore_command = ''\n")


class Setting:
    """What all share: places, programs, the seed, the log."""

    def __init__(self, arguments):
        self.work, self.program, self.config = arguments.work, arguments.program, arguments.config
        self.repository, self.bin = arguments.repository, arguments.bin
        self.version = arguments.version
        self.rng = random.Random(arguments.seed)
        self.began = time.monotonic()
        self.file = open(f"{self.work}/workload.log", "a", encoding="utf-8", errors="replace")

    def log(self, text):
        print(f"{time.monotonic() - self.began:.2f} {text}", file=self.file, flush=True)
