#!/usr/bin/env bash
# Backups are copied to another repository with the WAL that they need, also with a write-only key and
# after a kill; a restore from the copy alone equals the source at the end of each backup.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_cluster
write_config
sed -i "/^components:/i\\  away: $(repository_keys away)\n  apart: $(repository_keys apart "$work/apart.key")" "$config"
expect 0 holdfast --json init
same "who has the keys of another" '[null, "main", null]' "$(result '[r["shares_keys_with"] for r in d["repositories"]]')"
start_server "$data" 5432

all_of() { repository=$1 in_repository ls "${@:2}"; }
copied() { result "d['copied'][0]['$1']"; }
# same_state PORT DIR ROWS
same_state() {
  start_restored "$2" "$1"
  same "the state in $2" "$3" "$(PGPORT=$1 fingerprint)"
  stop_server "$2" immediate
}

fill orders 60
full_rows=$(fingerprint)
backup
full=$backup
archive_now
archive_now
sql "update orders set id = -id where id % 100 = 0"
rows=$(fingerprint)
backup --kind incremental
incremental=$backup
archive_now
sql "create table later as select 1 as n" # in no backup
archive_now

# A write-only key copies what it cannot read.
as_server "$program" -c "$config" key export --write-only >"$work/exported.key"
install -m 600 "$work/exported.key" "$work/write-only.key"
((EUID != 0)) || chown postgres: "$work/write-only.key"
sed "s/holdfast\.key/write-only.key/" "$config" >"$work/write-only.yaml"
write_only() { as_server "$program" -c "$work/write-only.yaml" "$@"; }

# A plan writes nothing, and tells what comes.
before=$(all_of away)
expect 0 write_only --json copy "$full" --to away --dry-run
planned=$(copied bytes_sent)
same "what a dry run leaves" "$before" "$(all_of away)"

# One that is killed in the middle: what it has sent is not sent again.
"${server_user[@]}" "$program" -c "$work/write-only.yaml" copy "$full" --to away >/dev/null 2>&1 &
victim=$!
if repository=away in_repository stop-at packs/ 2 "$victim"; then
  kill -KILL "$victim"
fi
wait "$victim" || true
there=$(all_of away packs/ | wc -l)
expect 0 write_only --json copy "$full" --to away
sent=$(copied bytes_sent)
((sent < planned)) || fail "$there packs were there, and all $planned bytes were sent again"
expect 0 write_only --json copy "$full" --to away
same "sent when all is there" "true 0" "$(copied already_there) $(copied bytes_sent)"
expect 1 write_only -r away restore database --to "$work/nothing"
says write-only

# What the two have in common goes once; latest and prefixes stand for ids.
expect 0 write_only --json copy latest "${full%?}" --to away
same "the copied" "$full $incremental" "$(result '" ".join(b["id"] for b in d["copied"])')"
(($(result 'd["copied"][1]["bytes_sent"]') < planned / 2)) || fail "the incremental was sent as a whole"
expect 2 holdfast copy latest --to main
expect 2 holdfast copy latest --to nowhere
expect 4 holdfast copy nothing --to away

expect 0 holdfast -r away verify --all
while read -r object; do
  repository=away save_object "$object" "$work/one"
  save_object "$object" "$work/other"
  cmp -s "$work/one" "$work/other" || fail "$object is not the same in both"
done < <(all_of away packs/ && all_of away wal/)

# The WAL between and behind the two was not copied: the window is the newest one's own.
expect 0 holdfast --json -r away list
same "what is there" "$full $incremental" "$(result '" ".join(b["id"] for b in d["backups"])')"
same "the window" true "$(result 'd["backups"][1]["started"] < d["windows"]["database"]["from"] <= d["windows"]["database"]["to"]')"
end_of_window=$(result 'd["windows"]["database"]["to"]')
expect 0 holdfast --json list
same "the whole window ends later" true "$(result "d['windows']['database']['to'] > '$end_of_window'")"

# The first repository is lost. Each backup gives back the state at its own end.
repository=main
location_of_main=$(location)
sed "s|$location_of_main\"|$location_of_main-lost\"|" "$config" >"$work/lost.yaml"
config=$work/lost.yaml
expect 0 holdfast -r away restore database --to "$work/newest" --backup "$incremental"
same_state 5440 "$work/newest" "$rows"
expect 0 holdfast -r away restore database --to "$work/oldest" --backup "$full"
same_state 5441 "$work/oldest" "$full_rows"
expect 0 holdfast -r away restore database --to "$work/end"
same_state 5442 "$work/end" "$rows"
expect 4 holdfast -r away restore database --to "$work/late" --at 2999-01-01

# To a repository of other keys all is stored anew: that takes a key that reads.
expect 0 holdfast --json -r away copy "$incremental" --to apart
expect 0 holdfast -r apart verify --all
expect 0 holdfast -r apart restore database --to "$work/apart-back" --backup "$incremental"
same_state 5443 "$work/apart-back" "$rows"
expect 1 write_only -r away --json copy "$full" --to apart
same "why not" refused "$(result 'd["error"]["code"]')"

# Damage is not passed on.
for pack in $(all_of away packs/); do repository=away damage_object "$pack" flip; done
expect 5 holdfast --json -r away copy "$full" --to apart
same "what is refused" damaged "$(result 'd["failed"][0]["error"]["code"]')"
expect 0 holdfast -r apart verify --all
