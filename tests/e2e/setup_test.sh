#!/usr/bin/env bash
# `setup` writes a configuration that works as it stands: what it finds is backed up and comes back, what it
# says of postgresql.conf makes archiving work; and it shows no secret.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

only_directories "what is found does not depend on the storage"

new_cluster
sed -i '/^archive_/d' "$data/postgresql.conf"
echo "wal_level = minimal
max_wal_senders = 0" >>"$data/postgresql.conf"
start_server "$data" 5432

app=$work/app
canary="c4n4ry-of-the-$RANDOM"
as_server mkdir -p "$app/scripts" "$app/logs"
as_server tee "$app/.env" "$app/tls.key" >/dev/null <<<"PASSWORD=$canary"
as_server tee "$app/docker-compose.yml" "$app/scripts/deploy.sh" "$app/main.py" >/dev/null <<<"services: {}"
as_server tee "$app/logs/app.log" >/dev/null <<<"started"

# Printed, nothing is written.
expect 0 as_server "$program" setup --print "$app"
says "type: postgresql"
[[ ! -e $app/holdfast.yaml ]] || fail "--print wrote"

expect 0 as_server "$program" --json setup "$app"
config=$app/holdfast.yaml
same "the file" "$config" "$(result 'd["file"]')"
same "its rights" 640 "$(stat -c %a "$config")"
cp "$work/out" "$work/setup.json"
grep -qF "$canary" "$work/out" "$work/err" "$config" && fail "a secret is shown"
found() { result "[c for c in d['found']['postgresql'] if c['data_directory'] == '$data'][0]$1"; }
same "the connection" "host=$work/run port=5432 user=postgres dbname=postgres" "$(found '["connection"]')"
component=$(found '["component"]')
grep -qF "15." <<<"$(found '["version"]')" || fail "no version"
same "the files" '["docker-compose.yml", "scripts/"]' "$(result 'd["found"]["config"]')"
same "the secrets" "[\"$app/.env\", \"$app/*.key\"]" "$(result 'd["found"]["secrets"][:2]')"

# Never over what is there.
before=$(sha256sum "$config")
expect 1 as_server "$program" setup "$app"
says "exists already"
same "the configuration" "$before" "$(sha256sum "$config")"
expect 2 as_server "$program" setup "$work/nowhere"

# It loads as it is. Only this test's own cluster is looked at from here: others may be at work.
expect 0 holdfast init
[[ -e $(json "$work/setup.json" 'd["next"][0].split()[2]') ]] || fail "the next command is wrong"
python3 - "$work/setup.json" "$data" <<'END_OF_PYTHON'
import json, sys
changes = json.load(open(sys.argv[1]))["postgresql_conf"]
own = [change for change in changes if change["cluster"] == sys.argv[2]][0]
assert own["restart"] is True and own["file"] == sys.argv[2] + "/postgresql.conf", own
assert own["lines"][:2] == ["wal_level = replica", "archive_mode = on"] and len(own["lines"]) == 3, own
with open(own["file"], "a") as file:
    file.write("\n".join(own["lines"]) + "\n")
END_OF_PYTHON
stop_server "$data"
start_server "$data" 5432
archive_now
expect 0 as_server "$program" --json setup --print "$app"
same "what is still to be told" "[]" "$(result "[c for c in d['postgresql_conf'] if c['cluster'] == '$data']")"

fill orders 2
rows=$(fingerprint)
expect 0 holdfast backup "$component" config secrets logs
expect 0 holdfast restore "$component" --to "$work/back"
start_restored "$work/back" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
expect 0 holdfast restore config --to "$work/config"
same "the files that came back" "./docker-compose.yml ./holdfast.yaml ./scripts/deploy.sh" \
  "$(cd "$work/config" && find . -type f | sort | xargs)"
# The folders on the way to the secrets are root's: only root can give them back.
expect $((EUID == 0 ? 0 : 3)) "$program" -c "$config" restore secrets --to "$work/secrets"
cmp "$app/.env" "$work/secrets$app/.env"
cmp "$app/tls.key" "$work/secrets$app/tls.key"
[[ ! -e $work/secrets$app/holdfast.key ]] || fail "the repository's key is in the backup"
