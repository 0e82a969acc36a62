#!/usr/bin/env bash
# A random workload with incremental backups between its steps: each, restored, is what the source was, page
# by page. STEPS=300 SEED=7 VERSION=17 tests/e2e/random_workload_test.sh is a long run of another kind.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=${VERSION:-15}
if [[ ! -d /usr/lib/postgresql/$version/bin ]]; then
  "$project/scripts/fetch_postgres" "$version" "$work/postgresql-$version" ||
    skip "no PostgreSQL $version here (the reason stands above)"
fi

write_config
cat >>"$config" <<END
jobs:
  often: {at: "* * * * *", backup: [database], kind: incremental, keep: 20s}
END
judge=$work/judge # where the servers' user can read it
mkdir "$judge"
install -m 644 "$project"/tests/{e2e/{random_workload,workload_actions,workload_cluster,page_compare},s3/objects}.py "$judge"
prune=()
if "$program" help | grep -q '^  prune '; then prune=(--prune); fi

if [[ $storage == directory ]]; then steps=12; else steps=6; fi
unset PGPORT
as_server python3 -B "$judge/random_workload.py" --work "$work" --data "$data" --program "$program" \
  --config "$config" --repository "$(location)" --bin "$(pg_bin "$version")" --version "$version" \
  --seed "${SEED:-1}" --steps "${STEPS:-$steps}" "${prune[@]}" ||
  fail "the random workload"
