#!/usr/bin/env bash
# Object lock, on a real gateway: nobody destroys what a backup needs, not even who holds the store's own
# credentials; a configuration with `versions: first` restores it. Locks are extended for what backups use
# again, and a prune leaves alone what is locked.
HOLDFAST_TEST_STORAGE=s3
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_store
bucket=locked
bucket_tool "s3://$bucket" make-bucket --object-lock
new_cluster
configure() { # configure KEYS: those of the repository beside the usual ones
  write_config
  sed -i "s/key_file:/$1, key_file:/" "$config"
  cat >>"$config" <<END
jobs:
  short: {at: "0 2 * * *", backup: [database], keep: 1s}
wal: {keep: 1s}
END
}
configure "object_lock: 8s"
expect 0 holdfast init
start_server "$data" 5432

locked_until() { # locked_until NAME: in seconds; 0 where it is not
  in_repository head "$1" | python3 -c '
import datetime, json, sys
until = json.load(sys.stdin).get("x-amz-object-lock-retain-until-date")
print(int(datetime.datetime.fromisoformat(until.split(".")[0].rstrip("Z") + "+00:00").timestamp()) if until else 0)'
}
later_than() { (($(date +%s) > $1)); }
first_of() { objects "$1" | head -n 1; }

# ---- Extended for what is used again -------------------------------------------------------------

fill orders 60
backup --job short
first=$backup
keys=$(first_of keys/)
pack=$(first_of packs/)
before=$(locked_until "$pack")
((before > 0)) || fail "a pack is not locked"
wait_for "a quarter of the period to pass" later_than "$(($(in_repository newest packs/) + 3))"
sql "update orders set id = id + 1 where id % 1000 = 0"
archive_now
backup --kind incremental --job short
now=$(in_repository newest backups/)
for name in "$pack" "$keys" format "$(first_of index/)" "$(objects backups/ | tail -n 1)"; do
  (($(locked_until "$name") >= now + 8)) || fail "$name is not locked until the period's end"
done

# ---- Prune leaves alone what is locked -----------------------------------------------------------

in_repository lock "backups/database/$first" 20
expect 0 holdfast --json prune --grace 0s
(($(result 'd["locked"]["backups"]') == 1)) || fail "the backup that is to go is not waited for"
same "removed" 0 "$(result 'd["removed"]["backups"]')"
expect 0 holdfast list
says "$first"
is_gone() {
  holdfast --json prune --grace 0s >"$work/out" && [[ $(result 'd["removed"]["backups"]') == 1 ]]
}
wait_for "the lock to end" is_gone
expect 0 holdfast --json list
same "backups" 1 "$(result 'len(d["backups"])')"
expect 0 holdfast verify

# ---- Against the store's own credentials ---------------------------------------------------------

configure "object_lock: 1h"
sql "delete from orders where id % 3 = 0"
archive_now
backup --kind incremental
expected=$(fingerprint)
archive_now
stop_server "$data"
in_repository attack >"$work/destroyed"
[[ ! $(objects) ]] || fail "the attack left something to be seen"
grep -q '^locks/' "$work/destroyed" || fail "the attack destroys nothing, not even what is not locked"
expect 4 holdfast list
configure "versions: first"
expect 0 holdfast verify "$backup"
expect 0 holdfast restore database --backup "$backup" --to "$work/restored"
start_restored "$work/restored" 5433
same "what was restored" "$expected" "$(PGPORT=5433 fingerprint)"
stop_server "$work/restored"
expect 1 holdfast prune
says "first versions"
