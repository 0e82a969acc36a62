#!/usr/bin/env bash
# Two hosts and one repository: a backup that another host took for gone, and whose component it then backed
# up itself, does no harm when it wakes: it is refused (exit 6), and leaves no record.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A directory's owner can make locks look older; a bucket's has to wait.
[[ ${HOLDFAST_TEST_STORAGE-} != s3 || ${HOLDFAST_TEST_SLOW-} ]] ||
  skip "waits 5 minutes until a lock in a bucket expires: HOLDFAST_TEST_SLOW=1 runs it"
elsewhere=(unshare --uts --pid --fork --mount-proc sh -c 'hostname elsewhere && exec "$@"' sh)
"${elsewhere[@]}" true 2>/dev/null || skip "a second host needs the right to make namespaces (root)"

locks_left() { objects locks/ | wc -l; }

let_locks_expire() {
  if [[ ${HOLDFAST_TEST_STORAGE-} == s3 ]]; then
    sleep 302
  else
    find "$repo/locks" -type f -exec touch -d '6 minutes ago' {} +
  fi
}

# begin_elsewhere: a backup on the other host, as $slow says, stopped once it has stored something.
begin_elsewhere() {
  local before
  before=$(count_packs)
  "${elsewhere[@]}" "${server_user[@]}" "$program" -c "$slow" backup database \
    >"$work/background.out" 2>"$work/background.err" &
  waiting_pid=$!
  until sleeper_pid=$(pgrep -P "$waiting_pid"); do :; done
  in_repository stop-at packs/ $((before + 1)) "$sleeper_pid" ||
    fail "the backup ended early: $(cat "$work/background.err")"
}

new_stack
slow=$work/slow.yaml # so that it is in the middle when it is stopped
{ cat "$config" && echo "limits: {rate: 20MiB}"; } >"$slow"
fill orders 60
begin_elsewhere
expect 6 holdfast backup database
says "on elsewhere"
says "expires 5 min"

# Nothing is known here of its process: its lock must grow old.
let_locks_expire
backup
first=$backup
same "locks that are left" 0 "$(locks_left)"

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
same "locks that are left" 0 "$(locks_left)"

# One that was killed is of no process of this host: the other must wait for its lock to expire, its own
# host need not.
fill more 60
begin_elsewhere
kill -KILL "$sleeper_pid"
wait "$waiting_pid" || true
expect 6 holdfast backup database
let_locks_expire
backup
