#!/usr/bin/env bash
# Names and contents of secrets show nowhere: not in what any command prints, not in the repository, not in
# arguments, temporary files or a core dump. They come back 0600 below 0700; in a repository and under a key
# of their own where that is configured.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=files_lib.sh
source "$project/tests/e2e/files_lib.sh"

canary=CANARY$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
name=NAME$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
mkdir -p "$tree/app" "$tree/secure/$name-dir"
echo "PASSWORD=$canary" >"$tree/app/.env"
printf -- '-----BEGIN KEY-----\n%s\n' "$canary" >"$tree/secure/$name.pem"
echo "$canary" >"$tree/secure/$name-dir/deep.key"
echo "no secret" >"$tree/app/readme"
chmod 0644 "$tree/app/.env"
chmod 0755 "$tree/secure" "$tree/secure/$name-dir"
# So much that a backup can be met at work.
head -c 30000000 /dev/urandom | base64 | sed "1s/^/$canary/" >"$tree/secure/$name-large.key"
((EUID != 0)) || chown -R 1234:4321 "$tree/secure"

need_store
cat >"$config" <<END
stack: test
repositories:
  main: $(repository_keys)
  vault: $(repository_keys vault "$work/vault.key")
components:
  config: {type: files, root: $tree/app, exclude: [.env]}
  secrets:
    type: secrets
    root: $tree
    include: [/app/.env, "/secure/$name*"]
    repository: vault
jobs:
  daily: {at: "0 2 * * *", backup: [config, secrets], kind: full, keep: 30d}
END
transcript=$work/transcript
: >"$transcript"

# quiet STATUS COMMAND...: expect, and everything that it says is kept and holds neither name nor content.
quiet() {
  expect "$@"
  cat "$work/out" "$work/err" >>"$transcript"
  ! grep -aqE "$canary|$name" "$work/out" "$work/err" || fail "«${*:2}» shows a secret"
}

quiet 0 holdfast init
[[ $(stat -c %a "$work/vault.key") == 600 ]] || fail "the key file is open"
! cmp -s "$work/vault.key" "$work/holdfast.key" || fail "both have the same key"
quiet 3 holdfast -v check # the schedule is not run yet
quiet 0 holdfast -v --json backup --job daily
same "where each is" '[["config", "main"], ["secrets", "vault"]]' \
  "$(result 'sorted((b["component"], b["repository"]) for b in d["backups"])')"
id=$(result '[b["id"] for b in d["backups"] if b["component"] == "secrets"][0]')
same "how many" 4 "$(result '[b["files"] for b in d["backups"] if b["component"] == "secrets"][0]')"
expect 2 holdfast backup secrets -r main
quiet 2 holdfast copy secrets --to main
for arguments in list "--json list" "list secrets" "--json list secrets" "show $id" "--json show $id" \
  "verify $id -r vault" "--json verify --all -r vault" "prune" "--json prune --dry-run"; do
  # shellcheck disable=SC2086
  quiet 0 holdfast -v $arguments
done
same "the repository of secrets" true "$(expect 0 holdfast --json list && result '"vault" in [b["repository"] for b in d["backups"]]')"

quiet 1 holdfast cat "$id"
quiet 1 holdfast cat "$id" app/.env
quiet 0 holdfast --json diff "$id"
same "no differences" 0 "$(result 'd["counts"]["changed"]')"
echo "more $canary" >>"$tree/app/.env"
touch "$tree/secure/$name-new.pem"
quiet 0 holdfast --json diff "$id"
same "what changed" '{"added": 1, "changed": 1, "removed": 0}' "$(result 'd["counts"]')"
same "no names" false "$(result '"added" in d or "changed" in d')"
quiet 0 holdfast diff "$id"

quiet 0 holdfast restore secrets --to "$work/back"
says "check"
same "the rights of files" 600 "$(find "$work/back" -type f -printf '%m\n' | sort -u)"
same "the rights of directories" 700 "$(find "$work/back" -type d -printf '%m\n' | sort -u)"
cmp "$tree/secure/$name-large.key" "$work/back/secure/$name-large.key" || fail "not as it was"
same "what came back" "$(cd "$tree" && find app/.env secure -type f ! -name '*-new.pem' | sort)" \
  "$(cd "$work/back" && find . -type f -printf '%P\n' | sort)"
((EUID != 0)) || same "the owners" 1234:4321 "$(stat -c %u:%g "$work/back/secure/$name.pem")"
quiet 1 holdfast restore secrets --to "$work/back"
mkdir -m 0755 "$work/there"
quiet 0 holdfast restore secrets --to "$work/there" --only app
same "the rights of a directory that was there" 700 "$(stat -c %a "$work/there")"
# Also where the configuration calls them something else by now.
sed 's/type: secrets/type: files/' "$config" >"$work/renamed.yaml"
quiet 0 "$program" -c "$work/renamed.yaml" restore secrets --to "$work/renamed"
same "their rights all the same" 600 "$(find "$work/renamed" -type f -printf '%m\n' | sort -u)"
quiet 4 holdfast restore secrets --to "$work/none" --only app/nothing
quiet 0 holdfast restore secrets --to "$work/one" --only app/.env
same "one of them" "app/.env" "$(cd "$work/one" && find . -type f -printf '%P\n')"
# Into the places where they belong: nothing else there is touched, the directories on the way neither.
cp -a "$tree" "$work/live"
chmod 0755 "$work/live/app" && echo changed >"$work/live/app/.env"
quiet 0 holdfast restore secrets --to "$work/live" --delta
same "the directory on the way" 755 "$(stat -c %a "$work/live/app")"
same "what is no secret" "no secret" "$(cat "$work/live/app/readme")"
same "the secret" "PASSWORD=$canary" "$(cat "$work/live/app/.env")"
[[ -e $work/live/secure/$name-new.pem ]] || fail "a newer secret was removed"

# What cannot be read is counted, not named.
chmod 000 "$tree/secure/$name.pem"
if ((EUID == 0)); then
  chown -R postgres: "$tree" "$work/vault.key" "$work/holdfast.key" "$work/vault" "$work/repo" 2>/dev/null || true
fi
runner=holdfast
as_owner() { as_server "$program" -c "$config" "$@"; }
((EUID != 0)) || runner=as_owner
quiet 3 "$runner" --json backup secrets
says "1 of its files could not be read"
chmod 600 "$tree/secure/$name.pem"

# Packs that cannot be read are told of without a name.
if ((EUID == 0)) && [[ $storage == directory ]]; then
  chmod -R u-r "$work/vault/packs"
  for arguments in "backup secrets --kind incremental" "verify -r vault" "verify --quick -r vault" "restore secrets --to $work/unread"; do
    status=0
    # shellcheck disable=SC2086
    as_server "$program" -c "$config" -v $arguments >"$work/out" 2>"$work/err" || status=$?
    ! grep -aqE "$canary|$name" "$work/out" "$work/err" || fail "«$arguments» shows a secret"
    ((status != 0)) || fail "«$arguments» went well without its packs"
  done
  chmod -R u+r "$work/vault/packs"
fi

# While one is at work: arguments, environment, temporary files; and what a crash leaves.
touch "$work/began"
echo more >>"$tree/secure/$name-large.key"
sed -i '$a limits: {rate: 4MiB, workers: 1}' "$config"
(
  ulimit -c unlimited
  cd "$work" && exec "$program" -c "$config" backup secrets
) >"$work/out" 2>"$work/err" &
backup_pid=$!
reads_secret() { find "/proc/$backup_pid/fd" -lname "$tree/secure/*" 2>/dev/null | grep -q .; }
wait_for "the backup to read" reads_secret
for file in /proc/[0-9]*/cmdline "/proc/$backup_pid/environ"; do
  ! grep -aqE "$canary|$name" "$file" 2>/dev/null || fail "$file shows a secret"
done
kill -ABRT "$backup_pid"
wait "$backup_pid" 2>/dev/null || true
[[ ! $(find "$work" -maxdepth 2 -name 'core*' -newer "$work/began") ]] || fail "there is a core dump"
cat "$work/out" "$work/err" >>"$transcript"
sed -i '/^limits/d' "$config"
found=$(grep -rlaE "$canary|$name" "$work" --exclude-dir=tree --exclude-dir=back --exclude-dir=one --exclude-dir=live --exclude-dir=there --exclude-dir=renamed \
  --exclude=renamed.yaml \
  --exclude=holdfast.yaml 2>/dev/null || true)
[[ ! $found ]] || fail "secrets show in $found"
found=$(find "${TMPDIR:-/tmp}" /var/tmp -xdev -newer "$work/began" -type f -not -path "$work/*" -size -100M -print0 2>/dev/null |
  xargs -0 -r grep -laE "$canary|$name" 2>/dev/null || true)
[[ ! $found ]] || fail "secrets show in $found"

# The key of main opens nothing in the vault.
sed "s#vault.key#holdfast.key#" "$config" >"$work/wrong.yaml"
expect 1 "$program" -c "$work/wrong.yaml" list secrets
