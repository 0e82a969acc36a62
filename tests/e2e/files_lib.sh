# For the tests of files and secrets: sourced after lib.sh. Here holdfast runs as whoever runs the test, since
# owners are a superuser's business.
holdfast() { "$program" -c "$config" "$@"; }

tree=$work/tree
patterns='{include: [], exclude: ["*.pyc", /cache/]}'

# write_files_config [TYPE]: one component, config, below $tree.
write_files_config() {
  need_store
  cat >"$config" <<END
stack: test
repositories:
  main: $(repository_keys)
components:
  config:
    type: ${1-files}
    root: $tree
    exclude: ["*.pyc", /cache/]
END
}

# back_up [ARGUMENTS...]: a backup of config that must succeed; its id is in $backup.
back_up() {
  expect "${want-0}" holdfast --json backup config "$@"
  backup=$(result 'd["backups"][0]["id"]')
}

# A little of everything that a file can be.
make_tree() {
  mkdir -p "$tree"/{empty,deep/er/than/that,k8s,cache/within,private}
  printf 'PORT=8000\n' >"$tree/.env"
  printf 'services: {}\n' >"$tree/docker-compose.yml"
  printf 'compiled' >"$tree/deep/module.pyc"
  printf 'cached' >"$tree/cache/within/file"
  printf 'x' >"$tree/k8s/"$'new\nline and \xff'
  printf '' >"$tree/deep/er/than/that/nothing"
  head -c 300000 /dev/urandom >"$tree/deep/er/random"
  # Longer than what one worker reads alone, with a hole.
  head -c 40000000 /dev/urandom >"$tree/large"
  truncate -s 60000000 "$tree/large"
  printf 'the end' >>"$tree/large"
  truncate -s 100M "$tree/only-a-hole"
  ln -s /etc/passwd "$tree/absolute-link"
  ln -s ../nowhere "$tree/deep/dangling-link"
  ln "$tree/deep/er/random" "$tree/k8s/second-name"
  ln "$tree/.env" "$tree/zz-third-name"
  mkfifo "$tree/pipe"
  chmod 0400 "$tree/docker-compose.yml"
  chmod 4711 "$tree/deep/er/than/that/nothing"
  chmod 1777 "$tree/empty"
  chmod 0700 "$tree/private"
  setfattr -n user.origin -v 'as it was' "$tree/.env" 2>/dev/null || echo "no extended attributes here" >&2
  setfattr -n user.of-a-directory -v yes "$tree/k8s" 2>/dev/null || true
  if ((EUID == 0)); then
    chown 1234:4321 "$tree/docker-compose.yml" "$tree/private"
    chown -h 99:98 "$tree/absolute-link"
  fi
  find "$tree" -depth -exec touch -h -d '2019-03-04 05:06:07.123456789' {} +
  touch -h -d '1969-12-31 23:59:59.5' "$tree/deep/er/random"
}

# same_tree FROM TO [rsync's options...]: rsync and getfattr find nothing to tell them apart, times are the
# same to the nanosecond, and what was a hole takes no room.
same_tree() {
  local from=$1 to=$2 difference
  shift 2
  difference=$(rsync -nacHAXi --devices --specials --delete --exclude='*.pyc' --exclude=/cache "$@" "$from/" "$to/")
  [[ ! $difference ]] || fail "rsync tells $from from $to: $difference"
  attributes "$from" >"$work/from.attributes"
  attributes "$to" >"$work/to.attributes"
  cmp "$work/from.attributes" "$work/to.attributes" || fail "attributes or times differ: $(diff "$work/from.attributes" "$work/to.attributes" | head)"
}

attributes() {
  (cd "$1" && getfattr -R -h -d -m - --absolute-names . 2>/dev/null | sed '/^$/d' | sort
    find . \( -name '*.pyc' -o -path ./cache \) -prune -o -type d -printf '%p %y %m %U %G %T@\n' \
      -o -printf '%p %y %m %U %G %n %s %T@ %l\n' | LC_ALL=C sort)
}
