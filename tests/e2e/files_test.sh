#!/usr/bin/env bash
# Files come back as they were: content, rights, owners, times, links, attributes, holes; all of them or
# some, into an empty directory or over what is there, as of each backup.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=files_lib.sh
source "$project/tests/e2e/files_lib.sh"

write_files_config
cat >>"$config" <<'END'
    after_restore: 'pwd > "$HOOK_RAN" && test ! -e fail-the-hook'
END
expect 0 holdfast init
make_tree
expect 0 holdfast check
says "files"

back_up
first=$backup
same "the type" files "$(result 'd["backups"][0]["type"]')"
expect 0 holdfast --json restore config --to "$work/back"
same "the backup" "$first" "$(result 'd["backup"]')"
same_tree "$tree" "$work/back"
[[ $(stat -c %b "$work/back/only-a-hole") -lt 100 ]] || fail "the hole was filled"
[[ ! -e $work/back/cache && ! -e $work/back/deep/module.pyc ]] || fail "what was excluded came back"
expect 1 holdfast restore config --to "$work/back"
says "not empty"

# Nothing changed: nothing is read. A log that grew, and an insertion: what was there is not stored again.
back_up --kind incremental
same "the kind" incremental "$(result 'd["backups"][0]["kind"]')"
same "the bytes that were read" 0 "$(result 'd["backups"][0]["bytes_read"]')"
head -c 50000000 /dev/urandom >"$tree/grows.log"
head -c 50000000 /dev/urandom >"$tree/inserted"
back_up --kind incremental
echo "one more line" >>"$tree/grows.log"
{ echo "one line before" && cat "$tree/inserted"; } >"$tree/inserted.new"
mv "$tree/inserted.new" "$tree/inserted"
back_up --kind incremental
stored=$(result 'd["backups"][0]["bytes_stored"]')
((stored < 5000000)) || fail "$stored bytes were stored for two lines"
changed=$backup
expect 0 holdfast restore config --to "$work/changed"
same_tree "$tree" "$work/changed"
rm -r "$work/changed"

# What changed, told.
chmod 0640 "$tree/.env"
rm "$tree/grows.log" && mkdir "$tree/new" && echo new >"$tree/new/file"
expect 0 holdfast --json diff "$changed"
same "what is new" '["new", "new/file"]' "$(result 'd["added"]')"
same "what is gone" '["grows.log"]' "$(result 'd["removed"]')"
result '[c for c in d["changed"] if c["path"] == ".env"][0]["what"]' | grep -q mode || fail "no word of the mode"
expect 0 holdfast --json diff "$first" "$changed"
same "what is new between the two" '["grows.log", "inserted"]' "$(result 'd["added"]')"

# One file, and the list of them.
expect 0 holdfast cat "$first" docker-compose.yml
cmp "$work/out" "$tree/docker-compose.yml" || fail "cat gave another content"
holdfast cat "$first" large | cmp - "$tree/large" || fail "cat gave another content"
expect 0 holdfast --json cat "$first"
same "its files" true "$(result '{".env", "large", "absolute-link"} <= {f["path"] for f in d["files"]}')"
expect 4 holdfast cat "$first" no/such/file
says "no/such/file"

# As of a moment.
expect 0 holdfast --json list
between=$(result '[b["finished"] for b in d["backups"] if b["id"] == "'"$first"'"][0]')
expect 0 holdfast --json restore config --to "$work/then" --at "$between"
same "the backup of that moment" "$first" "$(result 'd["backup"]')"
for moment in 2001-01-01 2090-01-01; do
  expect 4 holdfast restore config --to "$work/never" --at "$moment"
  says "${between%%T*}"
done
[[ ! -e $work/never ]] || fail "something was written"

# An empty path is no wish for everything; a sparse file needs the room of its data alone.
expect 2 holdfast restore config --to "$work/never" --only ""
truncate -s 4T "$tree/vast" && for mib in {1..12}; do
  printf 'data' | dd of="$tree/vast" bs=1M seek=$((mib * 1000)) conv=notrunc status=none
done
back_up --kind incremental
expect 0 holdfast restore config --to "$work/vast" --only vast
same "the size of the vast file" "$(stat -c '%s' "$tree/vast")" "$(stat -c '%s' "$work/vast/vast")"
(($(stat -c '%b' "$work/vast/vast") < 1000)) || fail "holes were filled"
same "data in the vast file" data "$(dd if="$work/vast/vast" bs=1M skip=7000 count=1 status=none | head -c 4)"
rm "$tree/vast"

# Some of them.
expect 0 holdfast restore config --to "$work/some" --backup "$first" --only k8s/ deep/er/than .env
same "what came back" "./.env ./deep/er/than/that/nothing" "$(cd "$work/some" && find . -path ./k8s -prune -o -type f -print | sort | xargs)"
same "the second name" "$(md5sum <"$tree/k8s/second-name")" "$(md5sum <"$work/some/k8s/second-name")"
expect 4 holdfast restore config --to "$work/none" --only no-such-file

# Over what is there: all is mended, what does not belong goes, what the backup does not mean stays.
cd "$work/then"
echo more >>.env
rm large && ln -s /etc/passwd large
rm absolute-link && mkdir absolute-link && touch absolute-link/inside
chmod 0777 private
printf 'X' | dd of=k8s/second-name bs=1 seek=1000 conv=notrunc status=none
touch -d 2022-02-02 deep/er/random
rm -r empty && echo "in the way" >empty
mkdir extra && touch extra/file extra/kept.pyc cache
before=$(md5sum </etc/passwd)
cd "$work"
expect 0 holdfast --json restore config --to "$work/then" --backup "$first" --delta
same "what was removed" true "$(result 'd["removed"] >= 1')"
[[ ! -e $work/then/extra/file && -e $work/then/extra/kept.pyc ]] || fail "the wrong things went"
rm -r "$work/then/extra" "$work/then/cache" 2>/dev/null || true
expect 0 holdfast restore config --to "$work/then" --backup "$first" --delta
expect 0 holdfast restore config --to "$work/again" --backup "$first"
same_tree "$work/again" "$work/then"
same "what no link led to" "$before" "$(md5sum </etc/passwd)"
expect 0 holdfast --json restore config --to "$work/then" --backup "$first" --delta
same "the bytes written to what is the same" 0 "$(result 'd["bytes_written"]')"

# The command behind a restore: told, and run only when that is asked for.
export HOOK_RAN=$work/hook-ran
expect 0 holdfast restore config --to "$work/with-hook" --only .env
says "after_restore was not run"
[[ ! -e $HOOK_RAN ]] || fail "the hook ran unasked"
expect 0 holdfast restore config --to "$work/with-hook" --only .env --delta --run-hooks
same "where the hook ran" "$work/with-hook" "$(cat "$HOOK_RAN")"
touch "$work/with-hook/fail-the-hook"
expect 1 holdfast restore config --to "$work/with-hook" --only .env --delta --run-hooks
says "after_restore"

expect 0 holdfast verify --all
