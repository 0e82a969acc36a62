#!/usr/bin/env bash
# A mistake in the configuration is exit 2 and names file, line, column and the nearest key.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

only_directories "what is said of the configuration does not depend on the storage"

wrong() { # wrong LINE:COLUMN TEXT: the configuration on stdin is refused, and this is said
  cat >"$config"
  expect 2 holdfast list
  says "$config:$1"
  says "$2"
}

wrong 4:5 key_file <<END
repositories:
  main:
    url: $repo
    keyfile: $work/holdfast.key
END
wrong 5:18 compression <<END
repositories:
  main:
    url: $repo
    key_file: $work/holdfast.key
    compression: lots
END
wrong 1:1 components <<END
component: {}
repositories: {main: {url: $repo, key_file: $work/k}}
END
wrong 3:20 postgresql <<END
repositories: {main: {url: $repo, key_file: $work/k}}
components:
  database: {type: postgres, connection: ""}
END
printf 'repositories:\n  main: {url: "unclosed\n' >"$config"
expect 2 holdfast list
says "$config:"

rm "$config"
expect 2 holdfast list
says "$config"
expect 2 as_server env HOLDFAST_CONFIG="$work/other.yaml" "$program" list
says "$work/other.yaml"

# Variables and secrets from elsewhere.
cat >"$config" <<END
repositories:
  main:
    url: \${WHERE}/repo
    passphrase: {env: SECRET}
components: {}
END
expect 2 holdfast init
says WHERE
expect 0 as_server env WHERE="$work" SECRET=hunter2hunter2 "$program" -c "$config" init
expect 0 as_server env WHERE="$work" SECRET=hunter2hunter2 "$program" -c "$config" list
expect 1 as_server env WHERE="$work" SECRET=wrong "$program" -c "$config" --json list
same "the code" key "$(result 'd["error"]["code"]')"
grep -rq hunter2 "$repo" && fail "the passphrase is in the repository"
true
