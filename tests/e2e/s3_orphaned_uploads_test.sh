#!/usr/bin/env bash
# Multipart uploads that killed runs left: a prune finds and removes them when they are old, or at once where it is
# told so, but not while another run is at work.
HOLDFAST_TEST_STORAGE=s3
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
uploads() { in_repository uploads | wc -l; }
in_repository begin-upload index/ab00
in_repository begin-upload packs/ab/ab00
same "uploads" 2 "$(uploads)"

expect 0 holdfast --json prune
same "young ones" 0 "$(result 'd["uploads"]')"
expect 0 holdfast --json prune --dry-run --grace 0s
same "to be removed" 2 "$(result 'd["uploads"]')"
same "after a dry run" 2 "$(uploads)"

# Those that began while a run is at work may be its own.
fill orders 60
begin_backup
in_repository begin-upload packs/cd/cd00
expect 0 holdfast --json prune --grace 0s
same "beside a backup" 2 "$(result 'd["uploads"]')"
same "left" 1 "$(uploads)"
kill -CONT "$backup_pid"
wait "$backup_pid" || fail "the backup failed: $(cat "$work/background.err")"
expect 0 holdfast prune --grace 0s
says "Unfinished uploads of killed runs removed: 1"
same "left at the end" 0 "$(uploads)"
expect 0 holdfast verify
