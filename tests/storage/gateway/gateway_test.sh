#!/usr/bin/env bash
# Runs gateway_test, the tests of the S3 driver, against a real gateway: gateway_test.sh PROGRAM [gtest's options...].
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-gateway.XXXXXX")
end() {
  local status=$?
  trap - EXIT
  # shellcheck disable=SC2046
  kill $(jobs -p) 2>/dev/null
  "$project/scripts/object_store" stop "$work/store" >/dev/null 2>&1
  rm -rf "$work"
  exit "$status"
}
trap end EXIT

"$project/scripts/object_store" start rgw 0 test-access test-secret "$work/store" >/dev/null || {
  echo "*** SKIPPED: the gateway could not be started ***" >&2
  exit 77
}
set -a
# shellcheck source=/dev/null
source "$work/store/environment"
set +a
objects() { python3 "$project/tests/s3/objects.py" "$@"; }
objects s3://plain make-bucket
objects s3://versioned make-bucket --versioned
objects s3://locked make-bucket --object-lock

# proxy NAME WORD...: its endpoint in $HOLDFAST_S3_NAME, its control port in $HOLDFAST_S3_NAME_CONTROL.
proxy() {
  local name=$1 port control
  shift
  python3 "$project/tests/s3/fault_proxy.py" serve "${S3_ENDPOINT##*:}" "$@" --seed "${SEED:-1}" \
    >"$work/$name" 2>"$work/$name.log" &
  until [[ -s $work/$name ]] && read -r port control <"$work/$name"; do
    kill -0 $! 2>/dev/null || { cat "$work/$name.log" >&2; exit 1; }
  done
  export "HOLDFAST_S3_$name=http://127.0.0.1:$port" "HOLDFAST_S3_${name}_CONTROL=$control"
}
proxy FAULTY rate=0.2 stall=1
proxy LOSING_ANSWERS rate=0.33 faults=reset-after
proxy OVERWRITING mode=strip-if-none-match
proxy REFUSING_CONDITIONS mode=refuse-if-none-match
proxy REFUSING_CHECKSUMS mode=refuse-checksums
proxy SKEWED skew=3600
export HOLDFAST_S3_PLAIN=$S3_ENDPOINT HOLDFAST_S3_TLS=$S3_TLS_ENDPOINT HOLDFAST_S3_CA_FILE=$S3_CA_FILE \
  HOLDFAST_S3_ACCESS_KEY=$S3_ACCESS_KEY HOLDFAST_S3_SECRET_KEY=$S3_SECRET_KEY
program=$1
shift
"$program" "$@"
