#!/usr/bin/env bash
# Two hosts and one repository: a backup that another host took for gone, and whose component it then backed
# up itself, does no harm when it wakes: it is refused (exit 6), and leaves no record.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ ${HOLDFAST_TEST_STORAGE-} != s3 ]] || skip "locks are made older here, as only a directory's owner can"
elsewhere=(unshare --uts --pid --fork --mount-proc sh -c 'hostname elsewhere && exec "$@"' sh)
"${elsewhere[@]}" true 2>/dev/null || skip "a second host needs the right to make namespaces (root)"

locks() { find "$repo/locks" -type f 2>/dev/null; }

# begin_elsewhere: a backup on the other host, stopped once it has stored something.
begin_elsewhere() {
  local before
  before=$(count_packs)
  "${elsewhere[@]}" "${server_user[@]}" "$program" -c "$config" backup database \
    >"$work/background.out" 2>"$work/background.err" &
  waiting_pid=$!
  until (($(count_packs) > before)); do
    kill -0 "$waiting_pid" 2>/dev/null || fail "the backup ended early: $(cat "$work/background.err")"
  done
  sleeper_pid=$(pgrep -P "$waiting_pid")
  kill -STOP "$sleeper_pid"
}

new_stack
fill orders 60
begin_elsewhere
expect 6 holdfast backup database
says "on elsewhere"
says "expires 5 min"

# Nothing is known here of its process: its lock must grow old. By the directory's clock it has.
locks | xargs touch -d '6 minutes ago'
backup
first=$backup
same "locks that are left" 0 "$(locks | wc -l)"

kill -CONT "$sleeper_pid"
status=0
wait "$waiting_pid" || status=$?
same "exit status of who slept" 6 "$status"
grep -q "another run has taken over" "$work/background.err" ||
  fail "it does not say why: $(cat "$work/background.err")"
expect 0 holdfast --json list
same "backups" "[\"$first\"]" "$(result '[b["id"] for b in d["backups"]]')"
expect 0 holdfast verify --all
backup --kind incremental
same "locks that are left" 0 "$(locks | wc -l)"

# One that was killed is of no process of this host: the other must wait for its lock to expire, its own
# host need not.
fill more 60
begin_elsewhere
kill -KILL "$sleeper_pid"
wait "$waiting_pid" || true
expect 6 holdfast backup database
locks | xargs touch -d '6 minutes ago'
backup
