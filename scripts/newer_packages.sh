# Debian packages newer than this machine's own, unpacked into a folder without installing anything: for
# scripts/fetch_postgres, fetch_pgbackrest and object_store, which source this under `set -euo pipefail`.
#
# They come from a newer Debian suite on the mirror that this machine's apt uses, with an apt state of
# their own, so nothing on the machine changes. The programs get the newer suite's loader and libraries
# written into them, so that they run here while what they start keeps the machine's own.
# The downloads are kept in build/.

deadline=$((SECONDS + 120))
script=$(basename "$0")

give_up() {
  echo "$script: $what is not to be had: $1" >&2
  exit 1
}

within_limit() {
  local left=$((deadline - SECONDS))
  ((left > 0)) || return 1
  timeout "$left" "$@"
}

# download SUITE MIRROR PACKAGES: they and what they depend on, as wanted() chooses by name.
download() {
  local state=$scratch/$1
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  : >"$state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $2 $1 main" >"$state/sources"
  local apt=(within_limit apt-get -q -y -o "Dir::Etc::sourcelist=$state/sources"
    -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$state" -o "Dir::State::status=$state/status"
    -o "Dir::Cache=$state/cache" -o APT::Sandbox::User= -o Acquire::Retries=2
    -o Acquire::http::Timeout=20 -o Acquire::Languages=none)
  "${apt[@]}" update >>"$scratch/log" 2>&1 || return 1
  local names
  read -ra names <<<"$3 patchelf"
  "${apt[@]}" -s install --no-install-recommends "${names[@]}" >"$scratch/plan" 2>>"$scratch/log" ||
    return 1
  mkdir "$scratch/packages"
  mapfile -t names < <(sed -nE "s/^Inst ([^ ]+) .*/\1/p" "$scratch/plan" | wanted)
  (cd "$scratch/packages" && "${apt[@]}" download "${names[@]}") >>"$scratch/log" 2>&1
}

# fetch PACKAGES CACHE SUITE...: from the first of the suites that has them.
fetch() {
  local packages=$1 cache=$2 mirror suite
  shift 2
  [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || give_up "no keyring of Debian's archive"
  # shellcheck disable=SC1091
  mirror=$(. /etc/os-release && apt-get indextargets --format '$(RELEASE) $(REPO_URI)' \
    'Created-By: Packages' | awk -v suite="$VERSION_CODENAME" '$1 == suite { print $2; exit }')
  [[ $mirror ]] || give_up "apt has no mirror for this machine's own suite"
  for suite in "$@"; do
    rm -rf "$scratch/packages"
    if download "$suite" "$mirror" "$packages"; then
      mkdir -p "${cache%/*}"
      rm -rf "$cache"
      mv "$scratch/packages" "$cache"
      return
    fi
  done
  give_up "$(grep '^E:' "$scratch/log" | sort -u)"
}

# unpack_packages WHAT PACKAGES CACHE TREE SUITE...: into TREE, fetched first where CACHE is not there.
unpack_packages() {
  what=$1
  local packages=$2 cache=$3 tree=$4 file
  shift 4
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  [[ -d $cache ]] || fetch "$packages" "$cache" "$@"
  for file in "$cache"/*.deb; do
    dpkg-deb -x "$file" "$tree"
  done
}

# use_own_libraries TREE PROGRAM...: writes the loader and the libraries in TREE into the programs.
use_own_libraries() {
  local tree=$1 libraries loader program
  shift
  libraries=$(dirname "$(find "$tree/usr/lib" -maxdepth 2 -name libc.so.6 | head -n 1)")
  loader=$(find "$libraries" "$tree/usr/lib64" "$tree/usr/lib" -maxdepth 1 -name 'ld-linux*' | head -n 1)
  [[ $loader ]] || give_up "its packages hold no loader"
  for program in "$@"; do
    [[ $(head -c 4 "$program") == $'\x7fELF' ]] || continue
    "$loader" --library-path "$libraries" "$tree/usr/bin/patchelf" \
      --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$program"
  done
}
