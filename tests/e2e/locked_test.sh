#!/usr/bin/env bash
# A second backup of the same component at the same time is exit 6 and says who is at work.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
fill orders 60
begin_backup
expect 6 holdfast --json backup database
same "the error" locked "$(result 'd["error"]["code"]')"
says "$backup_pid"
expect 0 holdfast list
kill -CONT "$backup_pid"
wait "$backup_pid" || fail "the first backup failed: $(cat "$work/background.err")"
backup
same "locks that are left" 0 "$(objects locks/ | wc -l)"
