#!/usr/bin/env bash
# A repository whose data is in GLACIER, at an emulated store that refuses to read it before it is thawed: full
# and incremental backups, prune and check work, verify says what it could not read, and a restore lists what
# must be thawed, asks for it, waits for it and goes on.
HOLDFAST_TEST_STORAGE=s3
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

status=0
start_store moto || status=$?
((status != 77)) || skip "no emulated store here (the reason stands above)"
((status == 0)) || fail "the emulated store did not start"
new_cluster
write_config
sed -i 's/key_file:/storage_class: GLACIER, key_file:/' "$config"
cat >>"$config" <<END
jobs:
  short: {at: "0 2 * * *", backup: [database], keep: 1s}
END

# thaws at_once|later|never: what a request comes to. Later: it is under way when it is looked at first.
thaws() {
  local transition='{"progression": "immediate"}'
  [[ $1 != later ]] || transition='{"progression": "manual", "times": 1}'
  [[ $1 != never ]] || transition='{"progression": "manual", "times": 1000000}'
  curl -sf -o /dev/null -X POST "$S3_ENDPOINT/moto-api/state-manager/set-transition" \
    -d "{\"model_name\": \"s3::keyrestore\", \"transition\": $transition}" || fail "moto cannot be told"
}
class_of() { # class_of NAME
  in_repository head "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin).get("x-amz-storage-class", "STANDARD"))'
}
classes() { # classes PREFIX: each that objects below it have
  local name
  for name in $(objects "$1"); do class_of "$name"; done | sort -u | xargs
}

expect 0 holdfast init
start_server "$data" 5432
thaws later
fill orders 60
backup
full=$backup
same "classes of the packs" "GLACIER STANDARD" "$(classes packs/)"
for prefix in backups/ index/ keys/ wal/; do same "classes below $prefix" STANDARD "$(classes $prefix)"; done
sql "update orders set id = id + 1 where id % 1000 = 0"
archive_now

# Nothing that keeps a repository going reads what is frozen.
backup --kind incremental --audit 50%
same "kind" incremental "$(result 'd["backups"][0]["kind"]')"
same "method" "change maps" "$(result 'd["backups"][0]["postgresql"]["method"]')"
says "were not audited"
sql "delete from orders where id % 7 = 0"
before=$(fingerprint)
archive_now
# A gap in the archive: the pages themselves must tell.
remove_object "$(archived_segments | sed -n '$p')"
backup --kind incremental
last=$backup
same "method without maps" "page LSNs" "$(result 'd["backups"][0]["postgresql"]["method"]')"
archive_now
expect 3 holdfast --json verify "$last"
same "damage" '[]' "$(result 'd["damaged"]')"
[[ $(result 'len(d["frozen"])') -ge 1 ]] || fail "verify does not say what it could not read"
expect 0 holdfast verify --quick "$last"
expect 0 holdfast --json list
same "verified" null "$(result 'd["backups"][0]["verified"]')"

# A restore says what it takes, and touches nothing.
target=$work/restored
expect 1 holdfast --json restore database --backup "$last" --to "$target"
same "code" refused "$(result 'd["error"]["code"]')"
same "speeds" '["bulk", "standard", "expedited"]' "$(result '[e["speed"] for e in d["thaw"]["estimates"]]')"
same "asked for" null "$(result 'd["thaw"]["requested"]')"
[[ $(result 'd["thaw"]["frozen"]["packs"] == len(d["thaw"]["waiting_for"]) > 1') == true ]] ||
  fail "the packs are not listed"
says "Amazon's list prices"
[[ ! -e $target ]] || fail "the refused restore left something"
expect 2 holdfast restore database --to "$target" --thaw --thaw-days 0

expect 3 holdfast --json restore database --backup "$last" --to "$target" --thaw bulk --thaw-days 3
same "asked for" bulk "$(result 'd["thaw"]["requested"]')"
thaws never
expect 3 holdfast --json restore database --backup "$last" --to "$target" --thaw
same "still to be asked for" 0 "$(result 'd["thaw"]["frozen"]["packs"]')"
[[ $(result 'd["thaw"]["under_way"]["packs"]') -gt 1 ]] || fail "what is under way is not counted"
expect 1 holdfast restore database --backup "$last" --to "$target"
says "being thawed"
[[ ! -e $target ]] || fail "the waiting restore left something"

# It waits, and goes on by itself.
as_server "$program" -c "$config" restore database --backup "$last" --to "$target" --wait \
  >"$work/background.out" 2>"$work/background.err" &
waiting=$!
wait_for "the restore to wait" grep -q "until the packs are thawed" "$work/background.err"
thaws at_once
wait "$waiting" || fail "the restore did not go on: $(cat "$work/background.err")"
start_restored "$target" 5433
same "what was restored" "$before" "$(PGPORT=5433 fingerprint)"
stop_server "$target"
# All is thawed: nothing is asked for. The other backup has packs of its own, which are not.
expect 0 holdfast restore database --backup "$last" --to "$work/again"
expect 0 holdfast verify "$last"
expect 0 holdfast restore database --backup "$full" --to "$work/full" --thaw expedited

# Old backups go, and with them packs that are paid for any longer: shown, or left until then. Those of which a
# part is needed are not read.
sql "drop table orders"
archive_now
backup
expect 0 holdfast --json prune --dry-run --grace 0s --wait-minimum
same "frozen packs that would go" 0 "$(result 'd["early"]["packs"]')"
[[ $(result 'd["kept_to_minimum"]["packs"] > 1') == true ]] || fail "nothing is kept to its minimum"
expect 0 holdfast --json prune --dry-run --grace 0s
early=$(result 'd["early"]["packs"]')
[[ $(result 'd["early"]["packs"] > 1 and d["early"]["dollars"] > 0') == true ]] || fail "nothing is shown of what goes early"
expect 0 holdfast --json prune --grace 0s
same "what went early" "$early" "$(result 'd["early"]["packs"]')"
[[ $(result 'd["removed"]["packs"] >= d["early"]["packs"]') == true ]] || fail "less went than was shown"
same "rewritten" 0 "$(result 'd["rewritten"]["bytes"] if d["rewritten"]["bytes"] > 10**6 else 0')"
expect 3 holdfast verify "$backup"
