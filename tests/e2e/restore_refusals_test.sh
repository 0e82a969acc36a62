#!/usr/bin/env bash
# What a restore refuses, and that it then has written nothing.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill orders 1
backup
archive_now

as_server mkdir "$work/full"
as_server touch "$work/full/precious"
expect 1 holdfast --json restore database --to "$work/full"
same "the error" refused "$(result 'd["error"]["code"]')"
says "$work/full"
same "what is there" precious "$(ls -A "$work/full")"

expect 1 holdfast restore database --to "$data" # in use, by a server that runs
is_true true || fail "the server has gone"

expect 4 holdfast restore database --to "$work/none" --backup database-20010101T000000Z
expect 4 holdfast restore database --to "$work/none" --at 2001-01-01
expect 2 holdfast restore database --to "$work/none" --at now --lsn 0/1
expect 2 holdfast restore nosuch --to "$work/none"
expect 2 holdfast restore database --to "$work/none" --lsn nonsense
expect 2 holdfast restore database --to "$work/none" --action explode
[[ ! -e $work/none ]] || fail "something was written"

# An empty directory is fine, and keeps its place.
as_server mkdir "$work/empty"
expect 0 holdfast restore database --to "$work/empty"
expect 1 holdfast restore database --to "$work/empty"
