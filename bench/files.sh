#!/usr/bin/env bash
# Compares backups of files with restic's and borg's (Debian's), in one run: a tree of many files, and one
# large file; the first backup, an unchanged second, a third after 1 % has changed, and the restore.
#
#   bench/files.sh [--files N] [--bytes SIZE] [--size SIZE] [--runs N] [--cold] [--quick]
#
# --files, --bytes: of the tree, 50000 and 800M by default; --size: of the large file, 5G by default; 0
# leaves one of them out. --runs: of each, alternating, 1 by default. --cold: the page cache is dropped
# before each (needs root); else all that is read is in it. --quick: 3000 files, 50M, 200M. TMPDIR says
# where, with room for five times the sizes.
#
# All encrypt and compress with zstd, level 3 (restic: "auto"). Each keeps its own cache or index of what it
# saw, as it does by default. A restore is over when what it wrote is on the disk, and is compared with the
# source. What holdfast is held to is the faster of the two others.
set -euo pipefail
# shellcheck source=tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

files=50000 bytes=800M size=5G runs=1
while (($#)); do
  case "$1" in
    --quick) files=3000 bytes=50M size=200M ;;
    --files) files=$2 && shift ;;
    --bytes) bytes=$2 && shift ;;
    --size) size=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --cold) cold=true ;;
    *) usage ;;
  esac
  shift
done
others=(restic borg)

# ---- The tools -----------------------------------------------------------------------------------

configure() {
  measure=$work/measure.py
  install -m 755 "$project/bench/measure.py" "$measure"
  install -m 755 "$project/bench/make_tree.py" "$work/make_tree.py"
  : >"$work/results"
  head -c 24 /dev/urandom | base64 >"$work/password"
  cat >"$work/holdfast.yaml" <<END_OF_FILE
repositories:
  main: {url: $work/repository/holdfast, key_file: $work/holdfast.key, compression: 3}
components:
  tree: {type: files, root: $work/tree}
  big: {type: files, root: $work/big}
END_OF_FILE
  ((EUID != 0)) || chown postgres: "$work/results" "$work/password"
  server_user+=("RESTIC_REPOSITORY=$work/repository/restic" "RESTIC_PASSWORD_FILE=$work/password"
    "RESTIC_CACHE_DIR=$work/restic-cache" "BORG_REPO=$work/repository/borg"
    "BORG_PASSCOMMAND=cat $work/password" "BORG_BASE_DIR=$work/borg-base")
  holdfast=("$program" -c "$work/holdfast.yaml" -q)
}

new_repositories() {
  rm -rf "$work"/{repository,restic-cache,borg-base,holdfast.key}
  as_server mkdir "$work/repository"
  as_server "${holdfast[@]}" init >/dev/null
  as_server restic -q init --repository-version 2 >/dev/null
  as_server borg init -e repokey-blake2 2>/dev/null
}

# What is measured is the path relative to $work: $1, as the backup number $2.
backup_command() { # TOOL SOURCE NUMBER
  case $1 in
    holdfast)
      command=("${holdfast[@]}" backup "$2" --kind incremental)
      (($3 > 1)) || command=("${holdfast[@]}" backup "$2")
      ;;
    restic) command=(restic -q backup --compression auto "$2") ;;
    borg) command=(borg create --compression zstd,3 "::$2-$3" "$2") ;;
  esac
}

restore_command() { # TOOL SOURCE: into $work/restored/SOURCE
  case $1 in
    holdfast) command="$(printf '%q ' "${holdfast[@]}")restore $2 --to $work/restored/$2" ;;
    restic) command="restic -q restore latest --path $work/$2 --target $work/restored" ;;
    borg) command="cd $work/restored && borg extract ::$2-3" ;;
  esac
  command=(sh -c "$command && sync -f $work")
}

# ---- Measuring -----------------------------------------------------------------------------------

warm_up() { $cold || find "$work/$1" -type f -exec cat {} + >/dev/null; }

in_rotation() { # in_rotation RUN FUNCTION ARGUMENT...: of all tools; who begins changes
  local tools=(holdfast "${others[@]}") i run=$1 function=$2
  shift 2
  for ((i = 0; i < 3; i++)); do "$function" "${tools[(run - 1 + i) % 3]}" "$@"; done
}

take() { # take TOOL ACTION SOURCE NUMBER
  local command
  backup_command "$1" "$3" "$4"
  measure "$1" "$3: $2" --stored "$work/repository/$1" -- "${command[@]}"
}

bring_back() { # bring_back TOOL SOURCE
  local command differing
  as_server mkdir "$work/restored"
  restore_command "$1" "$2"
  measure "$1" "$2: restore" -- "${command[@]}"
  differing=$(rsync -nacHAX --delete --out-format='%i %n' "$work/$2/" "$work/restored/$2/" | head -n 5)
  [[ ! $differing ]] || fail "$1 restored $2 wrongly: $differing"
  rm -rf "$work/restored"
}

compare_on() { # compare_on SOURCE RUN
  warm_up "$1"
  in_rotation "$2" take first "$1" 1
  in_rotation "$2" take unchanged "$1" 2
  sleep 1 # of borg, which reads again what is as young as its last backup
  "change_$1" "$2"
  warm_up "$1"
  in_rotation "$2" take "1 % changed" "$1" 3
  in_rotation "$2" bring_back "$1"
}

change_tree() { as_server "$work/make_tree.py" change-tree "$work/tree" 0.01 "$1" >"$work/tree.change"; }
change_big() { as_server "$work/make_tree.py" change-file "$work/big/file" 0.01 "$1" >"$work/big.change"; }

# ---- The run -------------------------------------------------------------------------------------

"$project/scripts/setup" --bench
[[ ${HOLDFAST-} ]] || "$project/scripts/build"
make_work files
configure

sources=()
echo "Making the files" >&2
as_server mkdir "$work/tree" "$work/big"
if ((files > 0)); then
  as_server "$work/make_tree.py" tree "$work/tree" "$files" "$(numfmt --from=iec "$bytes")" >"$work/tree.made"
  sources+=(tree)
fi
if [[ $size != 0 ]]; then
  as_server "$work/make_tree.py" file "$work/big/file" "$(numfmt --from=iec "$size")" >"$work/big.made"
  sources+=(big)
fi
for ((run = 1; run <= runs; run++)); do
  for source in "${sources[@]}"; do
    echo "Run $run of $runs: $source" >&2
    new_repositories
    compare_on "$source" "$run"
  done
done

echo
echo "$runs runs of each, $(nproc) processors, $($cold && echo 'page cache dropped before each' ||
  echo 'all that is read in the page cache'), $(restic version | cut -d' ' -f1-2), $(borg --version)"
for source in "${sources[@]}"; do
  echo "$source: $(cat "$work/$source.made"); changed: $(cat "$work/$source.change")"
done
python3 "$measure" report "$work/results"
echo
least() { python3 "$measure" least "$work/results" "$@" "${others[@]}"; }
for source in "${sources[@]}"; do
  for action in first unchanged "1 % changed" restore; do
    faster=$(least wall "$source: $action")
    aim "$source, $action: time, of $faster's, the faster" 0.5 wall \
      holdfast "$source: $action" "$faster" "$source: $action"
  done
  smaller=$(least stored "$source: 1 % changed")
  aim "$source, all three backups: repository, of $smaller's, the smaller" 1.0 stored \
    holdfast "$source: 1 % changed" "$smaller" "$source: 1 % changed"
done
