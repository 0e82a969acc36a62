#!/usr/bin/env bash
# Each policy of docs/policies/ is enough for what it is for, and allows no more: a user with its rights and
# no others works on the repository, and is told what is refused.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

storage=s3
policies=$project/docs/policies
agent_secret=agent-$RANDOM$RANDOM

# allow POLICY [BUCKET]: from now on that is what the agent may do there.
allow() {
  local place=${2-$bucket}
  sed "s/BUCKET/$place/; s/PREFIX/main/" "$policies/$1.json" >"$work/policy.json"
  bucket_tool "s3://$place" policy "$work/policy.json" agent
}

# as_agent COMMAND...: of tests/s3/objects.py, with the agent's keys, in $repository.
as_agent() { S3_ACCESS_KEY=agent S3_SECRET_KEY=$agent_secret in_repository "$@"; }

# refused COMMAND...: for want of rights, and says where to look.
refused() {
  expect 1 holdfast --json "$@"
  same "the code" permission "$(result 'd["error"]["code"]')"
  result 'd["error"]["hint"]' | grep -qF docs/s3.md || fail "the hint names no document"
}

# What only a prune removes.
contents() { objects | grep -E '^(packs|backups|wal|keys|format)(/|$)'; }

# restores TO PORT ROWS [OPTION...]
restores() {
  expect 0 holdfast "${@:4}" restore database --to "$work/$1"
  start_restored "$work/$1" "$2"
  same "the rows of $1" "$3" "$(PGPORT=$2 fingerprint)"
  stop_server "$work/$1"
}

new_cluster
write_config
write_credentials "$work/credentials" agent "$agent_secret"
cat >>"$config" <<END
jobs:
  brief: {at: "0 * * * *", backup: [database], kind: full, keep: 1s}
  long: {at: "0 2 * * *", backup: [database], kind: full, keep: 1y}
wal: {keep: 1s}
END
"$project/scripts/object_store" admin "$work/store" user create --uid=agent --display-name=agent \
  --access-key=agent --secret-key="$agent_secret" >"$work/user" 2>&1 || fail "no user: $(tail -n 3 "$work/user")"

# A user without any rights learns whose credentials those are, and of nothing else.
expect 1 holdfast init
says docs/s3.md
says "$work/credentials"
expect 1 holdfast check

# The operator: all of it.
allow operator
expect 0 holdfast init
start_server "$data" 5432
fill orders 5
backup --job brief
archive_now
sql "update orders set id = -id where id % 7 = 0"
backup --job long --kind incremental
rows=$(fingerprint)
archive_now
has_expired() { (($(in_repository newest) < $(date +%s) - 2)); }
wait_for "the first backup to expire" has_expired
expect 0 holdfast --json prune --grace 0s
result 'd["removed"]["wal"]' | grep -qvx 0 || fail "no WAL was removed"
expect 0 holdfast verify --all
restores operator 5440 "$rows"

# A host that can only add: it backs up and archives, and what it has written it cannot remove.
allow append-only
sql "update orders set id = -id where id % 5 = 0"
backup --job brief --kind full
sql "update orders set id = -id where id % 3 = 0"
backup --job brief --kind incremental
rows=$(fingerprint)
archive_now
same "locks that stay" "" "$(objects locks/)"
expect 0 holdfast list
expect 0 holdfast verify --all
wait_for "those backups to expire" has_expired
listing=$(contents)
refused prune --grace 0s
same "what is there after a prune that was refused" "$listing" "$(contents)"
for folder in packs/ backups/ wal/ index/ keys/ format; do
  name=$(objects "$folder" | sed -n 1p)
  [[ $name ]] || fail "there is nothing called $folder"
  status=0
  as_agent rm "$name" 2>/dev/null || status=$?
  ((status == 3)) || fail "removing $name ended with $status"
done
same "what is there after all attempts" "$listing" "$(contents)"
expect 0 holdfast verify --all
restores append-only 5441 "$rows"

# A host that can only read.
sql "select pg_switch_wal()" >/dev/null
allow restore-only
restores restore-only 5442 "$rows"
expect 0 holdfast list
expect 0 holdfast verify --quick
refused prune --grace 0s
expect 1 holdfast --json backup database
same "the code" permission "$(result 'd["failed"][0]["error"]["code"]')"
printf 'x' >"$work/x"
status=0
as_agent put backups/x "$work/x" 2>/dev/null || status=$?
((status == 3)) || fail "a reader could write"

# Who adds can also put something over what is there, where the store lets it. A bucket that keeps versions
# keeps what was there first, and a reader can go by that; one that locks keeps it from everybody.
allow operator
archive_now
kept=holdfast-kept
options='object_lock: 2d, tags: {origin: test}, server_side_encryption: {kms_key: key-1}, storage_class: STANDARD_IA'
bucket_tool "s3://$kept" make-bucket --object-lock
sed -i "/^components:/i\\  kept: $(repository_keys | sed "s/$bucket/$kept/; s/}$/, $options}/")" "$config"
allow append-only "$kept"
expect 0 holdfast -r kept init
expect 0 holdfast -r kept backup database
rows=$(fingerprint)
in_kept() { bucket_tool "s3://$kept/main" "$@"; }
agent_in_kept() { S3_ACCESS_KEY=agent S3_SECRET_KEY=$agent_secret in_kept "$@"; }

# With every right there is: a version that is locked stays, and others (the probe) go.
cat >"$work/everything.json" <<END
{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*",
  "Resource": ["arn:aws:s3:::$kept", "arn:aws:s3:::$kept/*"]}]}
END
in_kept policy "$work/everything.json" agent
locked=0
while read -r name id kind _; do
  [[ $kind == Version ]] || continue
  status=0
  agent_in_kept rm-version "$name" "$id" 2>/dev/null || status=$?
  case $name in
    locks/* | fences/* | tmp/*) ((status == 0)) || fail "$name is locked, which nobody asked for" ;;
    *) ((status == 3)) && ((++locked)) || fail "destroying $name ended with $status" ;;
  esac
done < <(in_kept versions)
((locked > 5)) || fail "only $locked versions are locked"
expect 0 holdfast -r kept verify

allow append-only "$kept"
for folder in packs/ backups/ index/; do
  agent_in_kept put "$(in_kept ls "$folder" | sed -n 1p)" "$work/x"
done
mapfile -t names < <(in_kept ls keys/)
in_kept rm format "${names[@]}"
expect 5 holdfast -r kept verify
sed -i '/^  kept:/s/}$/, versions: first}/' "$config"
allow restore-only "$kept"
expect 0 holdfast -r kept verify --quick
restores first 5443 "$rows" -r kept
expect 1 holdfast -r kept backup database
says "versions: first"

echo "each policy allows what it must, and no more"
