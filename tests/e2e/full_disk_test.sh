#!/usr/bin/env bash
# A repository on a full disk: a clear failure, nothing half there, and all is well once there is room.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

only_directories "an object store has no disk to fill"
((EUID == 0)) || skip "mounting a small file system needs root"
mkdir "$work/small"
mount -t tmpfs -o size=48m tmpfs "$work/small" 2>/dev/null || skip "no tmpfs can be mounted here"
chown postgres: "$work/small"
repo=$work/small/repo

new_stack
fill orders 70
expect 1 holdfast --json backup database
says "no space"
expect 0 holdfast --json list
same "backups" 0 "$(result 'len(d["backups"])')"
segment=$(find "$data/pg_wal" -maxdepth 1 -type f -name '0000*' | sort | head -n 1)
dd if=/dev/zero of="$work/small/filler" bs=1M status=none 2>/dev/null || true
as_server cp "$segment" "$work/${segment##*/}.partial"
expect 1 holdfast wal push "$work/${segment##*/}.partial"
says "no space"

rm "$work/small/filler"
mount -o remount,size=600m "$work/small"
sql "create table more as select 1"
archive_now # what could not be archived has been by now
backup
expect 0 holdfast verify --all
expect 0 holdfast restore database --to "$work/back" --backup "$backup"
expect 0 pg pg_verifybackup --no-parse-wal "$work/back"
