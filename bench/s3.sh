#!/usr/bin/env bash
# Compares backups, restores and WAL archiving into a bucket with pgBackRest's (bundling and block
# incrementals, its newest release): the same cluster, the same gateway, the same run; without and with
# 20 ms added to each request; says which aims are met.
#
#   bench/s3.sh [--size SIZE] [--runs N] [--relations N] [--requests FILE] [--quick]
#
# --size: of the cluster, 2G by default (M and G are understood); --runs: of each, who begins alternates, 1 by
# default; --relations: of the last part's many small ones, 20,000 by default, 0 leaves it out; --requests:
# every request of what was measured is written there; --quick: 300M and 2,000 relations. TMPDIR says where,
# with room for four times the size; the bucket is in memory, OBJECT_STORE_BYTES at most, 12 GiB by default.
#
# Two workers and zstd level 3 each; holdfast encrypts, pgBackRest does not have to. Both speak TLS with a
# proxy that adds the delay and writes down the requests; those of the archiving beside a measured command
# come with an access key of their own and are not counted.
set -euo pipefail
# shellcheck source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

size=2G runs=1 relations=20000 requests=
while (($#)); do
  case "$1" in
    --quick) size=300M relations=2000 ;;
    --size) size=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --relations) relations=$2 && shift ;;
    --requests) requests=$(realpath "$2") && : >"$requests" && shift ;;
    *) usage ;;
  esac
  shift
done
megabytes=$(($(numfmt --from=iec "$size") / 1048576))
((megabytes >= 50)) || fail "--size: 50M is the least"
export OBJECT_STORE_BYTES=${OBJECT_STORE_BYTES:-12884901888}

# ---- The gateway, and the proxy before it --------------------------------------------------------

free_ports() { # two
  python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in sockets))'
}

# The tools' access keys tell their requests from those of the archiving.
start_gateway() {
  local key
  start_store rgw || fail "there is no gateway"
  certificate=$work/gateway.crt
  install -m 644 "$S3_CA_FILE" "$certificate"
  secret=$(head -c 15 /dev/urandom | base32)
  for key in holdfast pgbackrest archiver; do
    "$project/scripts/object_store" admin "$work/store" key create --uid=holdfast --key-type=s3 \
      "--access-key=$key" "--secret-key=$secret" >"$work/key.log" 2>&1 || fail "no access key $key"
    write_credentials "$work/credentials-$key" "$key" "$secret"
  done
}

start_proxy() {
  local ports
  read -ra ports <<<"$(free_ports)"
  port_plain=${ports[0]} port_delayed=${ports[1]} marks=0
  log=$work/requests.log
  install -m 644 "$project"/bench/s3/{haproxy.cfg,delay.lua} "$work"
  (umask 077 && cat "$work"/store/tls.{crt,key} >"$work/proxy.pem")
  ((EUID != 0)) || chown postgres: "$work/proxy.pem"
  "${server_user[@]}" "PLAIN_PORT=$port_plain" "DELAYED_PORT=$port_delayed" "DELAY_LUA=$work/delay.lua" \
    "CERTIFICATE=$work/proxy.pem" "GATEWAY=${S3_ENDPOINT#http://}" \
    "$(PATH=$PATH:/usr/sbin command -v haproxy)" -db -f "$work/haproxy.cfg" >"$log" 2>"$work/proxy.log" &
  wait_for "the proxy" mark_log
}

# Every request before this is in the log afterwards: those that ended stand there in that order.
mark_log() {
  marks=$((marks + 1))
  curl -fs --noproxy '*' --cacert "$certificate" "https://localhost:$port_plain/mark-$marks" &&
    wait_for "the log" grep -q "/mark-$marks\$" "$log"
}

# use_place NAME PORT [pgBackRest's options of the repository...]: both tools begin anew, in another
# place of the bucket.
use_place() {
  place=$1
  local port=$2 key of=
  shift 2
  local options=(repo1-type=s3 "repo1-path=/pgbackrest-$place" "repo1-s3-bucket=$bucket"
    repo1-s3-endpoint=localhost "repo1-storage-port=$port" "repo1-storage-ca-file=$certificate"
    repo1-s3-region=us-east-1 repo1-s3-uri-style=path "repo1-s3-key-secret=$secret" "$@")
  for of in "" "$archiver"; do
    key=${of:+archiver}
    write_holdfast_configuration "$work/${of}holdfast.yaml" "url: 's3://$bucket/holdfast-$place', \
endpoint: 'https://localhost:$port', region: us-east-1, path_style: true, ca_file: $certificate, \
credentials: {file: $work/credentials-${key:-holdfast}}"
    write_pgbackrest_configuration "$work/${of}pgbackrest.conf" "repo1-s3-key=${key:-pgbackrest}" "${options[@]}"
  done
  active none
  holdfast init >/dev/null 2>&1 || fail "holdfast init"
  as_server "${pgbackrest[@]}" stanza-create >&2
}

# ---- Measuring -----------------------------------------------------------------------------------

stored_bytes() { # stored_bytes TOOL: of backups
  local folder sum=0 of=holdfast-$place/
  local folders=(packs/ index/ backups/)
  [[ $1 == holdfast ]] || of=pgbackrest-$place/ folders=(backup/)
  for folder in "${folders[@]}"; do
    sum=$((sum + $(bucket_tool "s3://$bucket/$of" bytes "$folder")))
  done
  echo "$sum"
}

add() { python3 "$measure" add "$work/results" "$@"; }

# measure_requests TOOL ACTION -- COMMAND...: measure, with the requests under the tool's access key.
measure_requests() {
  local tool=$1 action=$2$suffix key=pgbackrest begin count
  [[ $tool != holdfast ]] || key=holdfast
  mark_log
  begin=$(stat -c %s "$log")
  measure "$tool" "$action" "${@:3}"
  mark_log
  tail -c "+$((begin + 1))" "$log" | awk -v "key=$key" '$2 == key' >"$work/measured.log"
  count=$(wc -l <"$work/measured.log")
  add "$tool" "$action" requests "$count"
  [[ $action == "wal push"* ]] || add "$tool" "$action" "per GB" "$(awk "BEGIN { print $count / $gigabytes }")"
  [[ ! $requests ]] || { echo "# $tool: $action" && cat "$work/measured.log"; } >>"$requests"
}

measure_backup() { # measure_backup TOOL ACTION COMMAND...
  local before
  before=$(stored_bytes "$1")
  measure_requests "$1" "$2" -- "${@:3}"
  add "$1" "$2$suffix" stored "$(awk "BEGIN { print ($(stored_bytes "$1") - $before) / 1048576 }")"
}

backup_holdfast() { measure_backup holdfast "$action" "${holdfast[@]}" backup database --kind "$kind"; }
backup_pgbackrest() {
  measure_backup "${variant:-pgBackRest}" "$action" "${pgbackrest[@]}" --type="${kind:0:4}" backup
}

backup_both() { # backup_both RUN ACTION KIND
  action=$2 kind=$3
  in_turn "$1" backup
}

restore_holdfast() {
  measure_requests holdfast restore -- "${holdfast[@]}" restore database --to "$work/restored-holdfast" \
    --backup latest
}

restore_pgbackrest() {
  measure_requests pgBackRest restore -- "${pgbackrest[@]}" --pg1-path="$work/restored-pgbackrest" \
    --type=immediate --target-action=promote restore
}

# Both copies start, and have every row of the source, which has not changed since the last backups.
check_copies() {
  local tool dir
  active none
  fingerprint >"$work/source.rows"
  for tool in holdfast pgbackrest; do
    dir=$work/restored-$tool
    start_server "$dir" 5440 -c archive_mode=off
    PGPORT=5440 wait_for "the end of recovery" is_true "not pg_is_in_recovery()"
    PGPORT=5440 fingerprint | cmp "$work/source.rows" - >&2 || fail "what $tool restored has other rows"
    stop_server "$dir"
    rm -rf "$dir" "$dir.log"
  done
}

push_segments() {
  local segment
  active none
  for segment in "${segments[@]}"; do
    measure_requests holdfast "wal push" -- "${holdfast[@]}" wal push "$segment"
    measure_requests pgBackRest "wal push" -- "${pgbackrest[@]}" archive-push "$segment"
  done
}

# ---- The run -------------------------------------------------------------------------------------

new_cluster() {
  initialise "$work/data" <<END
archive_mode = on
archive_command = '$work/archive-pgbackrest %p'
max_wal_size = 4GB
fsync = off
autovacuum = off
END
  start_server "$work/data" 5432
}

measure_size() {
  gigabytes=$(sql "select round(sum(pg_database_size(oid)) / 1e9, 3) from pg_database")
}

# Some documents, and accounts with random changes, of whose WAL five whole segments are kept.
make_data() {
  make_accounts $((megabytes * 6 / 10))
  make_documents $((megabytes * 4 / 10))
  settle
  active keep
  while (($(find "$work/segments" -type f | wc -l) < 6)); do
    pgbench -n -c 2 -t 2000 >/dev/null 2>&1
  done
  settle
  active none
  mapfile -t segments < <(find "$work/segments" -type f | sort | sed -n 2,6p) # the first holds little
  sql "vacuum analyze"
  sql checkpoint
}

# Full, incremental, restore and archiving, in a new place.
round() { # round RUN FRONTEND PORT SUFFIX
  suffix=$4
  echo "Run $1 of $runs, $2" >&2
  use_place "$2-$1" "$3" repo1-bundle=y repo1-block=y
  backup_both "$1" full full
  backup_both "$1" unchanged incremental
  change_blocks "$((changes += 1))" "$blocks"
  backup_both "$1" "1 % changed" incremental
  as_server mkdir -m 700 "$work"/restored-{holdfast,pgbackrest}
  active none
  in_turn "$1" restore
  check_copies
  push_segments
}

# Tables of three rows with their indexes: half of the relations each.
many_relations() {
  echo "A cluster of $relations small relations" >&2
  stop_server "$work/data"
  rm -rf "$work/data"
  new_cluster
  sql "do \$\$ begin
    for i in 1..$relations / 2 loop
      execute format('create table small_%s as select g as id, g * %s as value from generate_series(1, 3) g',
                     i, i);
      execute format('create unique index on small_%s (id)', i);
      if i % 200 = 0 then commit; end if;
    end loop; end \$\$"
  sql checkpoint
  measure_size
  suffix="" action="full, small relations" kind=full
  use_place relations "$port_plain" repo1-bundle=y repo1-block=y
  in_turn 1 backup
  use_place relations-unbundled "$port_plain"
  active pgbackrest
  settle
  variant="no bundles"
  backup_pgbackrest
}

print_aims() {
  local suffix action
  for suffix in "" ", 20 ms"; do
    for action in "full 0.6" "unchanged 0.2" "1 % changed 0.2" "restore 0.5" "wal push 1.0"; do
      aim "${action% *}$suffix: wall time, of pgBackRest's" "${action##* }" wall \
        holdfast "${action% *}$suffix" pgBackRest "${action% *}$suffix"
    done
    for action in full "1 % changed" restore "wal push"; do
      aim "$action$suffix: memory, MiB" 300 memory holdfast "$action$suffix"
    done
  done
  ((relations == 0)) || {
    aim "$relations small relations: requests, of pgBackRest's without bundles" 0.1 requests \
      holdfast "full, small relations" "no bundles" "full, small relations"
    aim "$relations small relations: requests, of pgBackRest's with bundles" 0.1 requests \
      holdfast "full, small relations" pgBackRest "full, small relations"
  }
}

"$project/scripts/setup" --bench
[[ ${HOLDFAST-} ]] || "$project/scripts/build"
patience=300
make_work bench_s3
"$project/scripts/fetch_pgbackrest" "$work/pgbackrest"
pgbackrest_program=$work/pgbackrest/usr/bin/pgbackrest
archiver=archiver-
prepare_tools
start_gateway
start_proxy

echo "Making a cluster of some $megabytes MB" >&2
active none
new_cluster
make_data
measure_size
blocks=$(sql "select (sum(pg_database_size(oid)) / 8192 / 100)::bigint from pg_database") changes=0
description="A cluster of $gigabytes GB, 1 % of it $blocks blocks, $runs runs of each, $(nproc) processors,
$("$pgbackrest_program" version), $("$(pg_bin "$version")/postgres" --version)"
for ((run = 1; run <= runs; run++)); do
  round "$run" plain "$port_plain" ""
  round "$run" delayed "$port_delayed" ", 20 ms"
done
((relations == 0)) || many_relations

printf '\n%s\n' "$description"
python3 "$measure" report "$work/results"
echo
print_aims
