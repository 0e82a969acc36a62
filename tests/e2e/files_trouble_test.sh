#!/usr/bin/env bash
# Files that change, grow, shrink, vanish or cannot be read while the backup runs are told of (exit status 3),
# and the rest is good; so is what a killed run leaves behind.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=files_lib.sh
source "$project/tests/e2e/files_lib.sh"
holdfast() { as_server "$program" -c "$config" "$@"; } # someone whom the system refuses things

write_files_config
echo 'limits: {rate: 8MiB, workers: 1}' >>"$config"
((EUID != 0)) || chown postgres: "$work"
as_server mkdir "$tree"
expect 0 holdfast init
as_server bash -c "cd '$tree' && echo good >a-good && head -c 12000000 /dev/urandom >b-large && echo v >c-vanishes &&
  head -c 1000000 /dev/urandom >d-shrinks && echo secret >e-unreadable && chmod 000 e-unreadable &&
  mkdir f-closed && echo within >f-closed/file && chmod 000 f-closed && echo good >z-good"

# is_reading FILE: the backup in the background has it open.
is_reading() { find "/proc/$backup_pid/fd" -lname "$tree/$1" 2>/dev/null | grep -q .; }

"${server_user[@]}" "$program" -c "$config" --json backup config >"$work/out" 2>"$work/err" &
backup_pid=$!
wait_for "the backup to read the large file" is_reading b-large
rm "$tree/c-vanishes"
"${server_user[@]}" bash -c "while :; do echo line >>'$tree/b-large'; done" &
writer=$!
status=0
wait "$backup_pid" || status=$?
kill "$writer"
wait "$writer" 2>/dev/null || true
same "the exit status" 3 "$status"
backup=$(result 'd["backups"][0]["id"]')
for file in b-large c-vanishes e-unreadable f-closed; do
  grep -q "$file" "$work/err" || fail "no word of $file"
done
expect 0 holdfast --json show "$backup"
same "what is not in it" '["e-unreadable", "f-closed"]' "$(result 'sorted(p["path"] for p in d["tree"]["lost"])')"
same "what changed" '["b-large", "c-vanishes"]' "$(result 'sorted(p["path"] for p in d["tree"]["changed"])')"
expect 0 holdfast restore config --to "$work/back"
for file in a-good d-shrinks z-good; do
  cmp "$tree/$file" "$work/back/$file" || fail "$file is not as it was"
done
cmp -n 12000000 "$tree/b-large" "$work/back/b-large" || fail "the part of b-large that did not change is not as it was"
[[ ! -e $work/back/c-vanishes && ! -e $work/back/e-unreadable ]] || fail "something came from nowhere"

# An incremental one does not take what kept changing for what it saw.
chmod 600 "$tree/e-unreadable"
chmod 700 "$tree/f-closed"
sed -i '/^limits/d' "$config"
want=0 back_up --kind incremental
expect 0 holdfast restore config --to "$work/second"
as_server rsync -nacHi --delete "$tree/" "$work/second/" >"$work/difference"
[[ ! -s $work/difference ]] || fail "not as it was: $(cat "$work/difference")"

# A root that is gone is no empty backup.
mv "$tree" "$tree.away"
expect 1 holdfast backup config
says "$tree"
mv "$tree.away" "$tree"

# Nor does one that is empty, as where a disk is not mounted, count as good: prune keeps the one before.
good=$(holdfast --json list config | tail -n 100000 >"$work/out" && result 'd["backups"][-1]["id"]')
sed -i '$a jobs: {now: {at: "0 2 * * *", backup: [config], keep: 1s}}' "$config"
mv "$tree" "$tree.away" && as_server mkdir "$tree"
want=3 back_up
says "no file in it"
patience=5 wait_for "the job's time to be over" sleep 1.1
expect 0 holdfast prune --grace 0s
expect 0 holdfast --json list config
same "the good one is there" true "$(result "'$good' in [b['id'] for b in d['backups']]")"
rmdir "$tree" && mv "$tree.away" "$tree"

# Killed in the middle: what was there is good, and the next run too.
as_server bash -c "head -c 60000000 /dev/urandom >'$tree/more'"
before=$(count_packs)
{ cat "$config" && echo 'limits: {rate: 32MiB}'; } >"$work/slow.yaml" # so that its middle can be met
"${server_user[@]}" "$program" -c "$work/slow.yaml" backup config >"$work/background.out" 2>&1 &
backup_pid=$!
in_repository stop-at packs/ $((before + 1)) "$backup_pid" || fail "the backup ended early"
kill -9 "$backup_pid"
wait "$backup_pid" 2>/dev/null || true
expect 0 holdfast verify --all
back_up
expect 0 holdfast restore config --to "$work/third"
as_server rsync -nacHi --delete "$tree/" "$work/third/" >"$work/difference"
[[ ! -s $work/difference ]] || fail "not as it was: $(cat "$work/difference")"

# Killed in the middle of a restore: run again over it.
"${server_user[@]}" "$program" -c "$config" restore config --to "$work/killed" >"$work/background.out" 2>&1 &
restore_pid=$!
wait_for "a file of the restore" test -e "$work/killed/more"
kill -9 "$restore_pid" 2>/dev/null || true
wait "$restore_pid" 2>/dev/null || true
expect 0 holdfast restore config --to "$work/killed" --delta
as_server rsync -nacHi --delete "$tree/" "$work/killed/" >"$work/difference"
[[ ! -s $work/difference ]] || fail "not as it was: $(cat "$work/difference")"

# Damage in the repository is told by name, and nothing wrong is restored.
pack=$(objects packs/ | head -n 1)
damage_object "$pack" flip
expect 5 holdfast verify --all
says "$pack"
