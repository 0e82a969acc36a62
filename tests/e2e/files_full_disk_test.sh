#!/usr/bin/env bash
# Disks that fill up: under the repository in the middle of a backup of files, and under what is restored.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=files_lib.sh
source "$project/tests/e2e/files_lib.sh"

only_directories "an object store has no disk to fill"
((EUID == 0)) || skip "mounting a small file system needs root"
mkdir "$work/small"
mount -t tmpfs -o size=40m tmpfs "$work/small" 2>/dev/null || skip "no tmpfs can be mounted here"

# Of the repository.
repo=$work/small/repo
write_files_config
mkdir "$tree"
head -c 5000000 /dev/urandom >"$tree/first"
expect 0 holdfast init
back_up
first=$backup
cp "$tree/first" "$work/first"
head -c 60000000 /dev/urandom >"$tree/large"
for kind in full incremental; do
  expect 1 holdfast backup config --kind "$kind"
  says "no space"
  expect 0 holdfast --json list
  same "backups" 1 "$(result 'len(d["backups"])')"
done
expect 0 holdfast verify --all
expect 0 holdfast restore config --backup "$first" --to "$work/back"
cmp "$work/first" "$work/back/first" || fail "the earlier backup is not as it was"

mount -o remount,size=300m "$work/small"
back_up --kind incremental
expect 0 holdfast verify --all
expect 0 holdfast restore config --to "$work/second"
same_tree "$tree" "$work/second"

# Of what is restored: it says so before it begins; with something there that it cannot foresee, in the middle.
mv "$repo" "$work/repo"
repo=$work/repo
write_files_config
mount -o remount,size=40m "$work/small"
expect 1 holdfast restore config --to "$work/small/back"
says "free; the backup needs"
[[ ! -e $work/small/back ]] || fail "it began to restore"
mkdir "$work/small/back"
expect 1 holdfast restore config --to "$work/small/back" --delta
says "no space"
[[ ! -e $work/small/back/large ]] || fail "a part of a file stands under its name"

mount -o remount,size=300m "$work/small"
expect 0 holdfast restore config --to "$work/small/back" --delta
same_tree "$tree" "$work/small/back"
