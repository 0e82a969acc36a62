#!/usr/bin/env bash
# Backups, archiving, prunes and restores at a store that fails one request in five and is down for a while,
# killed at any moment: nothing that was reported done is lost. A line for each run.
# RUNS=200 SEED=7 OUTAGE=30 tests/e2e/s3_faults_test.sh is the long form.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

storage=s3
runs=${RUNS:-2} seed=${SEED:-1} outage=${OUTAGE:-4} # seconds
keep=300                                             # seconds: what is younger must be there
faulty=$work/faulty.yaml                             # as $config, through the proxy

new_cluster --wal-segsize=1
cat >>"$data/postgresql.conf" <<END
# A server takes a command that a signal ended for the end of its archiver; the shell says 1 instead.
archive_command = '$program -c $faulty wal push %p || exit 1'
wal_keep_size = 128MB
END
write_config
cat >>"$config" <<END
jobs:
  kept: {at: "0 * * * *", backup: [database], kind: incremental, keep: ${keep}s}
  brief: {at: "0 * * * *", backup: [database], kind: incremental, keep: 1s}
wal: {keep: ${keep}s, push_ahead: 4, fetch_ahead: 4}
END
# tell_proxy WORD...: as tests/s3/fault_proxy.py has them.
tell_proxy() {
  local word answer
  exec 9<>"/dev/tcp/127.0.0.1/$control"
  for word in "$@"; do
    echo "$word" >&9
    read -r answer <&9
    [[ $answer == ok ]] || echo "$answer"
  done
  exec 9>&-
}
python3 -B "$project/tests/s3/fault_proxy.py" serve "${S3_ENDPOINT##*:}" stall=1 --seed "$seed" \
  >"$work/proxy.out" 2>"$work/proxy.err" &
proxy=$!
wait_for "the proxy" test -s "$work/proxy.out"
read -r proxy_port control <"$work/proxy.out"
sed "s/:${S3_ENDPOINT##*:}\"/:$proxy_port\"/" "$config" >"$faulty"
expect 0 holdfast init
start_server "$data" 5432
pgbench -i -s 1 -q >/dev/null 2>&1

declare -A reported=() # when each backup was reported, in $SECONDS; only those that must be kept
declare -A archived=() # segments that the server has been told of
line=()                # what the run did
touch "$work/failures.log"

# chance N: once in N times.
chance() { ((RANDOM % $1 == 0)); }

# act COMMAND...: through the proxy, perhaps killed in its middle. Its exit status is in $status.
act() {
  local pid
  "${server_user[@]}" "$program" -c "$faulty" "$@" >"$work/act.out" 2>"$work/act.err" &
  pid=$!
  if chance 4; then
    sleep "$((RANDOM % 2)).$(printf '%03d' $((RANDOM % 1000)))"
    kill -9 "$pid" 2>/dev/null || true
  fi
  status=0
  wait "$pid" 2>/dev/null || status=$?
}

# outcome WHAT STATUS...: what the run's line says of it; any other status than these is a failure of the test.
outcome() {
  local what=$1 allowed
  shift
  for allowed in "$@" 137; do
    if ((status == allowed)); then
      case $status in 0) ;; 137) what+=" killed" ;; *) what+=" exit $status" ;; esac
      line+=("$what")
      if ((status != 0 && status != 137)); then
        { echo "--- run $run: $what" && tail -n 3 "$work/act.err"; } >>"$work/failures.log"
      fi
      return
    fi
  done
  fail "run $run: $what ended with $status: $(tail -n 5 "$work/act.err")"
}

back_up() {
  local kind=incremental job=kept
  if chance 5; then kind=full; fi
  if chance 3; then job=brief; fi
  act --json backup --job "$job" --kind "$kind"
  outcome "$job $kind" 0 1 3
  if ((status != 0 && status != 3)); then return; fi
  [[ $job == brief ]] || reported[$(json "$work/act.out" 'd["backups"][0]["id"]')]=$SECONDS
}

prune() {
  act prune --grace 0s
  outcome prune 0 1 3
}

restore_one() {
  local ids id
  forget_old
  ids=("${!reported[@]}")
  ((${#ids[@]})) || return 0
  id=${ids[RANDOM % ${#ids[@]}]}
  act restore database --to "$work/try" --backup "$id"
  outcome restore 0 1
  ((status != 0)) || expect 0 pg pg_verifybackup --no-parse-wal "$work/try"
  rm -rf "$work/try"
}

go_down() {
  tell_proxy "down=$outage"
  line+=("down for $outage s")
}

# write_some TRANSACTIONS: in several segments.
write_some() {
  pgbench -n -c 2 -t "$1" >/dev/null 2>&1
  fill "t$run" 3
  ((run <= 3)) || sql "drop table t$((run - 3))"
}

kill_pushes() {
  pgrep -f "^$program -c $faulty wal push" | xargs -r kill -9 2>/dev/null || true
  line+=("pushes killed")
}

# What prune may take, or nearly: a backup ended before it was reported.
forget_old() {
  local id
  for id in "${!reported[@]}"; do
    ((SECONDS - reported[$id] < keep - 30)) || unset "reported[$id]"
  done
}

# note_archived: what the server has been told is archived, before it recycles the segment.
note_archived() {
  local name
  new_segments=()
  while read -r name; do
    [[ ! ${archived[$name]-} ]] || continue
    archived[$name]=1
    new_segments+=("$name")
  done < <(find "$data/pg_wal/archive_status" -name '0000*.done' -printf '%f\n' | sed 's/\.done$//')
}

# restores ID: its files are what they were.
restores() {
  expect 0 holdfast restore database --to "$work/back" --backup "$1"
  expect 0 pg pg_verifybackup --no-parse-wal "$work/back"
  rm -rf "$work/back"
}

# Everything that was reported is there and whole, seen without the proxy.
judge() {
  local id segment listed
  note_archived
  objects wal/ | sed 's|.*/||' | sort >"$work/there"
  for segment in "${new_segments[@]}"; do
    grep -q "^$segment" "$work/there" || fail "$segment was said to be archived, and is not there"
  done
  if ((${#new_segments[@]})); then
    segment=${new_segments[RANDOM % ${#new_segments[@]}]}
    expect 0 holdfast wal fetch "$segment" "$work/fetched"
    [[ $segment == *.* || ! -e $data/pg_wal/$segment ]] || expect 0 cmp "$work/fetched" "$data/pg_wal/$segment"
  fi
  expect 0 holdfast verify --all
  forget_old
  expect 0 holdfast --json list
  listed=" $(result '" ".join(b["id"] for b in d["backups"])') "
  for id in "${!reported[@]}"; do
    [[ $listed == *" $id "* ]] || fail "run $run: $id was reported, and is not listed"
  done
  local ids=("${!reported[@]}")
  ((${#ids[@]} == 0)) || restores "${ids[RANDOM % ${#ids[@]}]}"
  [[ ! ${listed// /} ]] || restored_whole
}

# The end of the WAL, from the newest backup: once in two times with the WAL fetched through the proxy.
restored_whole() {
  local rows
  rows=$(fingerprint)
  if chance 2; then
    tell_proxy rate=0.2
    expect 0 as_server "$program" -c "$faulty" restore database --to "$work/back"
  else
    expect 0 holdfast restore database --to "$work/back"
  fi
  start_restored "$work/back" 5440
  same "the rows" "$rows" "$(PGPORT=5440 fingerprint)"
  stop_server "$work/back" immediate
  tell_proxy rate=0
  rm -rf "$work/back"
}

one_run() {
  local begin=$SECONDS action requests
  RANDOM=$((seed + run))
  line=()
  tell_proxy zero rate=0.2
  write_some $((RANDOM % 200 + 50)) &
  local load=$!
  for action in back_up prune back_up restore_one; do
    if ((run % 6 == 2)) && [[ $action == prune ]]; then go_down; fi
    chance 4 || "$action"
    chance 6 && kill_pushes
  done
  wait "$load" || fail "the load failed"
  tell_proxy up rate=0
  requests=$(tell_proxy counts)
  patience=180 archive_now
  judge
  printf 'run %d: %s; %s; %d s\n' "$run" "$(printf '%s, ' "${line[@]}" | sed 's/, $//')" \
    "$(python3 -c 'import json, sys
counts = json.loads(sys.argv[1])
print(*(f"{sum(counts.get(what, {}).values())} {what}" for what in ("requests", "faults")), sep=", ")' "$requests")" \
    $((SECONDS - begin))
}

for ((run = 1; run <= runs; run++)); do one_run; done
forget_old
for id in "${!reported[@]}"; do restores "$id"; done
kill "$proxy"
wait "$proxy" || fail "the proxy failed: $(cat "$work/proxy.err")"
echo "$runs runs; ${#archived[@]} segments archived; $(grep -c '^---' "$work/failures.log") commands failed"
