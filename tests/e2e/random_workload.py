#!/usr/bin/env python3
"""Works on a PostgreSQL cluster at random, backs it up after each step, and holds each backup to what was
there: restored, its pages, its dump and its indexes are those of the source. random_workload_test.sh
prepares what it needs."""

import argparse
import json
import os
import re
import shutil
import sys
import time

import page_compare
from page_compare import PAGE_SIZE
from workload_actions import choose_actions
from workload_cluster import Failure, Refused, Server, Setting, Source

RESTORED_OPTIONS = ("-c archive_mode=off", "-c fsync=off", "-c autovacuum=off")

PAGES_VISIBLE = """select 'not frozen: ' || c.oid::regclass || f from pg_class c, pg_check_frozen(c.oid) f
                     where relkind in ('r', 'm', 't') and relpersistence = 'p'
                   union all
                   select 'not visible: ' || c.oid::regclass || f from pg_class c, pg_check_visible(c.oid) f
                     where relkind in ('r', 'm', 't') and relpersistence = 'p'"""


def lsn_number(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class Judge:
    def __init__(self, setting, source):
        self.setting, self.source, self.rng = setting, source, setting.rng
        self.restored = Server(setting, f"{setting.work}/restored", 5440)
        self.dumps = {}  # of each backup whose moment is known, (dump, sequences, first, last segment)
        self.proven = False

    def remove_restored(self):
        for directory in (self.restored.data, f"{self.restored.data}.spaces"):
            shutil.rmtree(directory, ignore_errors=True)

    def start_restored(self):
        """And waits for the end of recovery without a connection, which might change pages."""
        self.restored.start(*RESTORED_OPTIONS)
        self.restored.wait_for("the end of recovery", lambda: "in production" in self.restored.pg(
            "pg_controldata", self.restored.data))

    def segment_after(self, segment):
        """The LSN at which the segment after this one begins."""
        size = self.setting.segment_size
        number = int(segment[8:16], 16) * (0x100000000 // size) + int(segment[16:], 16) + 1
        return f"{number * size >> 32:X}/{number * size & 0xFFFFFFFF:X}"

    def segment_of(self, timeline, lsn):
        per_log = 0x100000000 // self.setting.segment_size
        number = lsn // self.setting.segment_size
        return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"

    def changed_since(self, lsn):
        """{path: blocks} that the source's WAL names from there on; the source is stopped, or idle."""
        timeline = self.source.pg("pg_controldata", self.source.data)
        timeline = int(re.search(r"Latest checkpoint's TimeLineID: +(\d+)", timeline)[1])
        if not os.path.exists(f"{self.source.data}/pg_wal/{self.segment_of(timeline, lsn_number(lsn))}"):
            return {}  # that segment was not begun yet (pg_waldump would wait for it)
        out = self.source.pg("pg_waldump", "-b", "-p", f"{self.source.data}/pg_wal", "-t", str(timeline), "-s", lsn,
                             ok=(0, 1))  # 1: it came to the end
        changed = {}
        for match in re.finditer(r"rel (\d+)/(\d+)/(\d+)(?: fork (\w+))? blk (\d+)", out):
            space, database, number, fork, block = match.groups()
            if fork in (None, "main"):
                top = {"1663": f"base/{database}", "1664": "global"}.get(
                    space, f"pg_tblspc/{space}/{self.setting.tablespace_folder}/{database}")
                changed.setdefault(f"{top}/{number}", set()).add(int(block))
        if sum(map(len, changed.values())) > 300:
            raise Failure(f"the source was to be at rest, and its WAL from {lsn} on names {changed}")
        return changed

    def exact(self, backup, quiet, relations):
        """Restores it and compares it with the source, which is at rest. relations: as of now, or None."""
        source = self.source
        to_its_end = quiet and self.rng.random() < 0.5
        if to_its_end:
            moment = backup["postgresql"]["stop_lsn"]
            arguments = ("--backup", backup["id"])
        else:
            relations = source.relations()
            moment = self.segment_after(source.archive_now())
            arguments = ()
        result = source.restore(self.restored.data, *arguments)
        if result["backup"] != backup["id"]:
            raise Failure(f"{result['backup']} was restored, not {backup['id']}")
        stopped = self.rng.random() < 0.3
        if stopped:
            source.stop()
        else:
            source.sql("checkpoint")
        self.start_restored()
        self.restored.stop()
        later = self.changed_since(moment)
        findings = self.pages(relations, later, quiet)
        if findings:
            raise Failure("restored pages differ from the source's:\n" + "\n".join(findings[:40]))
        if not self.proven:
            self.prove(relations, later)
            self.proven = True
        if self.setting.checksums:
            self.restored.pg("pg_checksums", "--check", "-D", self.restored.data)
        if stopped:
            source.start()
        self.logical(backup, quiet)
        return ("its end" if to_its_end else "the end of the WAL") + (", stopped" if stopped else "")

    def pages(self, relations, later, quiet=True):
        source, restored = self.source.data, self.restored.data
        findings = page_compare.compare(source, restored, relations, later)
        known = {relation.path for relation in relations}
        ours = page_compare.relation_files(source)
        for path in sorted(page_compare.relation_files(restored)):
            # A table dropped as the backup's checkpoint begins is emptied before, removed after it: the
            # WAL from there on does not remove it again.
            left_over = not quiet and os.path.getsize(f"{restored}/{path}") == 0
            if path not in ours and not left_over:
                findings.append(f"{path} is restored, and the source has no such file")
        for path in sorted(ours - known):  # template0, and what crashes left
            folder = os.path.dirname(path)
            if folder == self.setting.template0 and page_compare.read(source, path) != page_compare.read(
                    restored, path):
                findings.append(f"{path} of template0 differs")
        for folder in {os.path.dirname(path) for path in known}:
            name = f"{folder}/pg_filenode.map"
            if os.path.exists(f"{source}/{name}") and page_compare.read(source, name) != page_compare.read(
                    restored, name):
                findings.append(f"{name} differs")
        return findings

    def logical(self, backup, quiet):
        restored, source = self.restored, self.source
        self.start_restored()
        self.check_indexes()
        for database in restored.databases():
            found = restored.sql(PAGES_VISIBLE, database)
            if found and found != source.sql(PAGES_VISIBLE, database):
                raise Failure(f"in {database} of the restored copy, and not in the source:\n{found[:3000]}")
        expected, got = source.dump(), restored.dump()
        self.same_dump(expected, got)
        restored.stop()
        if quiet:
            self.dumps[backup["id"]] = expected

    def check_indexes(self):
        """What pg_amcheck finds in the source too is PostgreSQL's own: REINDEX CONCURRENTLY leaves the
        chunks of dead values out of the new index of a TOAST table, and it misses them."""
        def found(server):
            return server.pg("pg_amcheck", "--all", "--heapallindexed", ok=(0, 2))

        here = found(self.restored)
        if here and here != found(self.source):
            raise Failure(f"pg_amcheck finds in the restored copy, and not in the source:\n{here[:3000]}")

    def same_dump(self, expected, got):
        if expected[0] != got[0]:
            for side, dump in (("source", expected), ("restored", got)):
                with open(f"{self.setting.work}/dump.{side}", "w", encoding="utf-8") as file:
                    file.write("\n".join(dump[0]))
            raise Failure("the dumps differ: see dump.source, dump.restored")
        if expected[1].keys() != got[1].keys():
            raise Failure("the dumps have other sequences")
        for key, value in expected[1].items():
            if not value <= got[1][key] <= value + 33:  # 32 are logged ahead
                raise Failure(f"the sequence {key[1]} is at {got[1][key]}, not {value}")

    def older(self):
        """One of the earlier backups, as it was at its end."""
        listed = json.loads(self.source.holdfast("--json", "list"))["backups"]
        there = {backup["id"]: backup["postgresql"] for backup in listed}
        self.dumps = {name: dump for name, dump in self.dumps.items() if name in there}
        names = [name for name in sorted(self.dumps) if self.has_wal(there[name])]
        if not names:
            return "no older backup"
        name = self.rng.choice(names)
        # Today's tablespaces need not be that backup's.
        shown = json.loads(self.source.holdfast("--json", "show", name))
        mapping = []
        for place in shown["postgresql"].get("tablespaces", []):
            mapping += ["--tablespace", f"{place['location']}={self.restored.data}.spaces/{place['oid']}"]
        self.source.holdfast("restore", "database", "--to", self.restored.data, "--backup", name, *mapping)
        self.start_restored()
        self.same_dump(self.dumps[name], self.restored.dump())
        self.restored.stop()
        return f"{name} is what it was"

    def has_wal(self, details):
        size = self.setting.segment_size
        first, last = (lsn_number(details[key]) // size for key in ("start_lsn", "stop_lsn"))
        names = {self.segment_of(details["timeline"], number * size) for number in range(first, last + 1)}
        return not names & self.source.damaged

    def prove(self, relations, later):
        """The judge must be able to fail: a restored page that is altered, stale or gone is found and
        named."""
        heap = next(relation for relation in relations if relation.name == "postgres.pgbench_accounts")
        index = next(relation for relation in relations if relation.name == "postgres.pgbench_accounts_pkey")

        def alter(data, block, change):
            begin = block * PAGE_SIZE
            page = bytearray(data[begin:begin + PAGE_SIZE])
            return data[:begin] + change(page) + data[begin + PAGE_SIZE:]

        def flip(place):
            def change(page):
                page[place] ^= 0x01
                return page
            return change

        blocks = os.path.getsize(f"{self.source.data}/{heap.path}") // PAGE_SIZE
        for relation, block, change in (
                (heap, 1, flip(PAGE_SIZE - 30)), (heap, blocks - 1, flip(6)), (heap, 2, flip(25)),
                (heap, 3, lambda page: bytes(PAGE_SIZE)), (index, 1, flip(PAGE_SIZE - 17)),
                (heap, blocks - 1, lambda page: b"")):
            path = f"{self.restored.data}/{relation.path}"
            with open(path, "rb") as file:
                good = file.read()
            with open(path, "wb") as file:
                file.write(alter(good, block, change))
            found = self.pages(relations, later)
            with open(path, "wb") as file:
                file.write(good)
            # The source may remove files of dropped relations at any checkpoint.
            found = [text for text in found if not text.endswith("the source has no such file")]
            if len(found) != 1 or f"{relation.path}) block {block}:" not in found[0]:
                raise Failure(f"{relation.name} block {block} was altered, and the judge says {found}")
        os.rename(path, path + ".gone")
        if not any("is missing" in finding for finding in self.pages(relations, later)):
            raise Failure("a relation's file was removed, and the judge does not see it")
        os.rename(path + ".gone", path)


class Run:
    def __init__(self, arguments):
        self.arguments = arguments
        self.setting = Setting(arguments)
        self.rng = self.setting.rng
        self.source = Source(self.setting, arguments.data)
        self.judge = Judge(self.setting, self.source)
        self.refused = 0
        self.done = {}
        self.kinds = {}

    def prepare(self):
        setting, rng, source = self.setting, self.rng, self.source
        setting.checksums = rng.random() < 0.5
        setting.segment_size = rng.choice((1, 1, 16)) << 20
        compression = rng.choice(("off", "on")) if setting.version < 15 else rng.choice(("off", "pglz", "lz4"))
        source.pg("initdb", "-D", source.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale",
                  "--no-sync", f"--wal-segsize={setting.segment_size >> 20}",
                  *(["--data-checksums"] if setting.checksums else
                    ["--no-data-checksums"] if setting.version >= 18 else []))
        with open(f"{source.data}/postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"""
listen_addresses = ''
unix_socket_directories = '{os.environ["PGHOST"]}'
fsync = off
shared_buffers = 16MB
min_wal_size = {2 * (setting.segment_size >> 20)}MB
max_wal_size = {max(64, 4 * (setting.segment_size >> 20))}MB
max_prepared_transactions = 10
autovacuum = off
jit = off
log_min_messages = log
wal_compression = {compression}
wal_log_hints = {rng.choice(("off", "on"))}
archive_mode = on
archive_command = '{setting.program} -c {setting.config} wal push %p'
""")
        source.holdfast("init")
        source.start()
        source.sql("create extension amcheck; create extension pg_visibility", "template1")
        source.sql("create extension amcheck; create extension pg_visibility")
        source.pg("pgbench", "-i", "-q", "-s", "2")
        setting.template0 = source.sql("select 'base/' || oid from pg_database where datname = 'template0'")
        setting.tablespace_folder = source.sql("""select format('PG_%s_%s', current_setting(
            'server_version_num')::int / 10000, catalog_version_no) from pg_control_system()""")
        with_checksums = "on" if setting.checksums else "off"
        return (f"PostgreSQL {setting.version}, checksums {with_checksums}, segments of "
                f"{setting.segment_size >> 20} MiB, WAL compression {compression}")

    def act(self, say):
        for action in choose_actions(self.rng, self.rng.choice((1, 2, 2, 3, 5))):
            name = action.__name__
            self.setting.log(f"--- {name}")
            try:
                action(self.source)
                say(name)
                self.done[name] = self.done.get(name, 0) + 1
            except Refused as reason:
                say(f"({name}: {str(reason)[:90]})")
                self.refused += 1

    def step(self, number, say):
        self.judge.remove_restored()
        self.act(say)
        quiet = self.rng.random() < 0.6
        relations = self.source.relations() if quiet else None
        if not quiet:
            self.source.start_load()
            say("under load")
        kind = "full" if number % 20 == 0 else "incremental"
        backup = self.source.backup(kind, ok=(0, 3) if self.source.lost_wal else (0,))
        if not quiet:
            self.source.end_load()
        method = self.method_of(backup)
        self.kinds[method] = self.kinds.get(method, 0) + 1
        say(f"→ {method}, {backup['bytes_read'] >> 10} of {backup['bytes'] >> 10} KiB read,")
        say(f"exact to {self.judge.exact(backup, quiet, relations)}")
        if self.arguments.prune and self.rng.random() < 0.15:
            self.source.holdfast("prune", "--grace", "0s")
            say("; pruned")
        if self.rng.random() < 0.15:
            self.judge.remove_restored()
            say(f"; {self.judge.older()}")
        if number % 10 == 0 and not self.source.damaged:
            self.source.holdfast("verify")
            say("; verified")

    def method_of(self, backup):
        """How it found what had changed: "full", or "incremental by ..."."""
        details = backup["postgresql"]
        if details.get("bad_pages") or details.get("audit", {}).get("differences"):
            raise Failure(f"the backup found differences: {json.dumps(details)}")
        if details.get("why_method"):
            self.setting.log(f"{details.get('method')}: {details['why_method']}")
        if backup["kind"] == "full":
            return "full"
        return f"incremental by {details.get('method', '?')}"

    def run(self):
        repeat = f"SEED={self.arguments.seed} STEPS=N"
        number, parts = 0, []
        try:
            print(f"seed {self.arguments.seed}: {self.prepare()}", flush=True)
            for number in range(1, self.arguments.steps + 1):
                parts.clear()
                begin = time.monotonic()
                self.setting.log(f"===== step {number}")
                self.step(number, parts.append)
                print(f"{number}: {' '.join(parts)} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (Failure, Refused, OSError) as error:
            print(f"{number}: {' '.join(parts)}\nFAILED in step {number} of seed {self.arguments.seed}: {error}\n"
                  f"--- again: {repeat.replace('N', str(number))} tests/e2e/random_workload_test.sh; what was "
                  f"done stands in {self.setting.work}/workload.log", file=sys.stderr)
            return 1
        print(f"backups: {self.kinds}; actions: {dict(sorted(self.done.items()))}; refused: {self.refused}")
        if self.refused > sum(self.done.values()) / 3:
            print("FAILED: the server refused too much for this to be a test", file=sys.stderr)
            return 1
        return 0


def main():
    parser = argparse.ArgumentParser()
    for name in ("work", "data", "program", "config", "repository", "bin"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("seed", "steps", "version"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--prune", action="store_true")
    sys.exit(Run(parser.parse_args()).run())


if __name__ == "__main__":
    main()
