#!/usr/bin/env python3
"""Archives what is ready in a pg_wal, as PostgreSQL's archiver does: one call after another, oldest first.

  archive_wal.py PG_WAL COMMAND

%p in COMMAND is the segment's path. A segment whose command returned 0 is marked as done; the first that
fails ends the run with its exit status. Prints the number of segments and the seconds."""

import os
import sys
import time


def ready_segments(status):
    return sorted(name[: -len(".ready")] for name in os.listdir(status) if name.endswith(".ready"))


def main(pg_wal, command):
    status = os.path.join(pg_wal, "archive_status")
    segments = ready_segments(status)
    start = time.monotonic()
    for segment in segments:
        result = os.system(command.replace("%p", os.path.join(pg_wal, segment)))
        if result != 0:
            return os.waitstatus_to_exitcode(result)
        os.rename(os.path.join(status, segment + ".ready"), os.path.join(status, segment + ".done"))
    print(len(segments), round(time.monotonic() - start, 3))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
