#!/usr/bin/env bash
# Thousands of small relations go into few objects, and come back.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

new_stack
sql "do \$\$ begin for i in 1..1000 loop
       execute format('create table t%s (id int primary key, note text)', i);
       execute format('insert into t%s select g, repeat(''x'', g) from generate_series(1, 20) g', i);
       if i % 250 = 0 then commit; end if;
     end loop; end \$\$"
backup
files=$(result 'd["backups"][0]["files"]')
((files > 4000)) || fail "only $files files"
objects=$(objects | grep -vc '^wal/')
((objects < 50)) || fail "$files files became $objects objects"
expect 0 holdfast restore database --to "$work/back" --backup "$backup"
expect 0 pg pg_verifybackup --no-parse-wal "$work/back"
start_restored "$work/back" 5440
same "the rows" "$(fingerprint | md5sum)" "$(PGPORT=5440 fingerprint | md5sum)"
