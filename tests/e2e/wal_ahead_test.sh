#!/usr/bin/env bash
# WAL archived and fetched ahead, by processes in the background that are killed at any moment: nothing
# that was called done is lost, and a recovery ends where it would without them.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The processes of this test that run `wal push` or `wal fetch`, whoever started them.
processes() { pgrep -f "^$program -c $config (-r main )?wal $1 " || true; }
none_left() { [[ ! $(processes "$1") ]]; }
# kill_some ACTION [leaders]: those that there are at this moment; or of them those in the background,
# which lead sessions of their own.
kill_some() {
  local pid
  for pid in $(processes "$1"); do
    [[ ! ${2-} || $(ps -o sid= -p "$pid" | tr -d ' ') == "$pid" ]] || continue
    if kill -9 "$pid" 2>/dev/null; then echo "$pid" >>"$work/killed.$1"; fi
  done
}
# kill_while PID ACTION [leaders]: at moments that nobody chose, while process PID lives.
kill_while() {
  while kill -0 "$1" 2>/dev/null; do
    sleep "0.$((RANDOM % 2))$((RANDOM % 10))"
    kill_some "${@:2}"
  done
}

new_cluster --wal-segsize=1
write_config
echo 'wal: {push_ahead: 8, fetch_ahead: 8}' >>"$config"
# A server takes a command that a signal ended for the end of its archiver; the shell says 1 instead.
cat >>"$data/postgresql.conf" <<END
archive_command = '$program -c $config wal push %p || exit 1'
wal_keep_size = 1GB
END
expect 0 holdfast init
start_server "$data" 5432
backup

# ---- Pushing ahead -------------------------------------------------------------------------------

touch "$work/killed.push"
(for ((i = 0; i < 8 || i < 60 && $(wc -l <"$work/killed.push") < 12; i++)); do fill "notes$i" 10; done) &
load=$!
kill_while "$load" push
wait "$load" || fail "the load failed"
kill_some push
(($(wc -l <"$work/killed.push") > 5)) || fail "hardly anything was killed"
done_then=$(find "$data/pg_wal/archive_status" -name '*.done' -printf '%f\n' | sort)
for mark in $done_then; do
  segment=${mark%.done}
  expect 0 holdfast wal fetch "$segment" "$work/fetched"
  [[ $segment == *.backup ]] || cmp -s "$work/fetched" "$data/pg_wal/$segment" ||
    fail "$segment was called done and is another in the repository"
done
archive_now
wait_for "the end of what archives in the background" none_left push
segments=$(archived_segments | wc -l)
((segments > 50)) || fail "only $segments segments are archived"
expect 0 holdfast wal list

# What was archived ahead counts only as long as the file is the same and the object there.
expect 0 holdfast --json wal push "$data/pg_wal/$(basename "$(archived_segments | tail -n 2 | head -n 1)")"
same "archived again" False "$(result 'd["archived"]' | sed 's/false/False/')"

rows=$(fingerprint | md5sum)
stop_server "$data"

# ---- Fetching ahead ------------------------------------------------------------------------------

ahead_is_gone() { [[ ! -e $1/pg_wal/holdfast-ahead ]]; }

for name in calm killed damaged; do expect 0 holdfast restore database --to "$work/$name"; done

start_restored "$work/calm" 5440
same "the rows" "$rows" "$(PGPORT=5440 fingerprint | md5sum)"
wait_for "the end of the fetching" none_left fetch
ahead_is_gone "$work/calm" || fail "something is left in pg_wal"

start_restored "$work/killed" 5441 &
start=$!
kill_while "$start" fetch leaders
wait "$start" || fail "the recovery failed"
[[ -s $work/killed.fetch ]] || fail "nothing was killed"
same "the rows after kills" "$rows" "$(PGPORT=5441 fingerprint | md5sum)"
# What a killed one left, the archiver removes.
segment=$(basename "$(archived_segments | tail -n 1)")
as_server mkdir -p "$work/again/holdfast-ahead"
as_server touch "$work/again/holdfast-ahead/position" "$work/again/holdfast-ahead/$segment.1234"
expect 0 holdfast wal fetch "$segment" "$work/again/$segment"
expect 0 holdfast wal push "$work/again/$segment"
[[ ! -e $work/again/holdfast-ahead ]] || fail "what was fetched ahead is still there"

# A damaged object stops the recovery there: not before, and not with less.
mapfile -t objects < <(archived_segments)
victim=${objects[-12]}
damage_object "$victim" spoil
pg pg_ctl -D "$work/damaged" -l "$work/damaged.log" -o "-p 5442 -c archive_mode=off" -w -t 60 start \
  >/dev/null 2>&1 || true
wait_for "the server to stop" bash -c "! kill -0 \$(head -n 1 '$work/damaged/postmaster.pid')"
grep -q 'selected new timeline' "$work/damaged.log" && fail "it promoted"
grep -q "FATAL:  could not restore file \"$(basename "$victim")\"" "$work/damaged.log" ||
  fail "it did not stop at $(basename "$victim")"
grep -q "restored log file \"$(basename "${objects[-13]}")\"" "$work/damaged.log" ||
  fail "it stopped before $(basename "$victim")"
wait_for "the end of the fetching" none_left fetch
ahead_is_gone "$work/damaged" || fail "something is left in pg_wal"
