#!/usr/bin/env bash
# libpq is loaded at the first connection and not before: archiving works where it is missing.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

((EUID == 0)) || skip "only root can hide a library"
library=$(ldconfig -p | awk '$1 == "libpq.so.5" && !found++ {print $NF}')
unshare --mount true 2>/dev/null || skip "no mount namespace can be made here"

new_stack
backup
segment=$(sql "select pg_walfile_name(pg_switch_wal())")
wait_for "$segment in the archive" is_archived "$segment"

# without_libpq COMMAND...
without_libpq() {
  # shellcheck disable=SC2016
  unshare --mount bash -c 'mount --bind /dev/null "$0" && exec "$@"' "$(realpath "$library")" \
    setpriv --reuid postgres --regid postgres --init-groups env HOME="$work" "$program" -c "$config" "$@"
}

expect 0 without_libpq version
expect 0 without_libpq wal push "$data/pg_wal/$segment"
expect 0 without_libpq list
expect 1 without_libpq backup
says "cannot load PostgreSQL's client library"
says "hint: install libpq.so.5"
expect 0 holdfast backup
