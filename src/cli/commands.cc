#include "cli/commands.h"

namespace holdfast::cli {
namespace {

using Words = std::string_view;

constexpr Option kGlobals[] = {
    {.name = "--config",
     .letter = 'c',
     .value = "FILE",
     .help = "the configuration; else $HOLDFAST_CONFIG, ./holdfast.yaml, "
             "/etc/holdfast/holdfast.yaml",
     .hint = ValueHint::kFile},
    {.name = "--repository",
     .letter = 'r',
     .value = "NAME",
     .help = "a repository of the configuration; else the first one"},
    {.name = "--json", .help = "one JSON document on standard output"},
    {.name = "--quiet", .letter = 'q', .help = "errors alone on standard error"},
    {.name = "--verbose", .letter = 'v', .help = "say more on standard error"},
    {.name = "--help", .letter = 'h', .help = "help on the command"},
    {.name = "--version", .help = "the version"},
};

constexpr Words kKinds[] = {"full", "incremental"};
constexpr Words kThawSpeeds[] = {"bulk", "standard", "expedited"};
constexpr Words kActions[] = {"promote", "pause", "shutdown"};

constexpr Option kInitOptions[] = {
    {.name = "--own-keys",
     .help = "new keys, even where another repository of the configuration has the same key file "
             "or passphrase; copies between the two are then stored anew"},
};
constexpr Option kSetupOptions[] = {
    {.name = "--print", .help = "print the configuration, and write nothing"},
};
constexpr Option kCopyOptions[] = {
    {.name = "--to", .value = "REPOSITORY", .help = "a repository of the configuration"},
    {.name = "--dry-run", .help = "say what would be sent, and write nothing"},
};
constexpr Option kBackupOptions[] = {
    {.name = "--kind",
     .value = "KIND",
     .help = "full (the default) or incremental",
     .choices = kKinds},
    {.name = "--job", .value = "NAME", .help = "as that job: components, kind and repositories"},
    {.name = "--audit",
     .value = "SHARE",
     .help = "how much of the unchanged data an incremental backup reads again, such as 2%"},
    {.name = "--accept-new-system",
     .help = "the component is another cluster than before, on purpose (pg_upgrade, a rebuild)"},
};
constexpr Words kDumpFormats[] = {"custom", "plain", "directory"};
constexpr Option kDumpOptions[] = {
    {.name = "--format",
     .value = "FORMAT",
     .help = "pg_dump's: custom (the default), plain or directory",
     .choices = kDumpFormats},
    {.name = "--table",
     .letter = 't',
     .value = "TABLE",
     .help = "this table alone, or those that the pattern means, as pg_dump takes them",
     .repeats = true},
    {.name = "--jobs",
     .letter = 'j',
     .value = "N",
     .help = "tables at a time, of the directory format (1)"},
    {.name = "--job",
     .value = "NAME",
     .help = "as that job: its repositories, and how long to keep"},
    {.name = "--component",
     .value = "NAME",
     .help = "where the configuration has more than one PostgreSQL"},
};
constexpr Option kListOptions[] = {
    {.name = "--job", .value = "NAME", .help = "the backups of that job alone"},
    {.name = "--points", .help = "every backup's own moment too"},
};
constexpr Option kRestoreOptions[] = {
    {.name = "--to",
     .value = "DIR",
     .help = "where to; missing or empty",
     .hint = ValueHint::kDirectory},
    {.name = "--backup",
     .value = "ID",
     .help = "begin from this backup (a prefix, or latest); alone: the state at its end"},
    {.name = "--at", .value = "TIME", .help = "the state at this moment, UTC; or latest"},
    {.name = "--lsn", .value = "LSN", .help = "the state at this position in the WAL"},
    {.name = "--xid", .value = "XID", .help = "the state after this transaction"},
    {.name = "--name", .value = "POINT", .help = "the state at this restore point"},
    {.name = "--timeline", .value = "N", .help = "a timeline, current or latest (the default)"},
    {.name = "--action",
     .value = "ACTION",
     .help = "what the server does there: promote (the default), pause or shutdown",
     .choices = kActions},
    {.name = "--tablespace",
     .value = "OLD=NEW",
     .help = "put the tablespace at OLD into NEW",
     .repeats = true},
    {.name = "--delta",
     .help = "over what is in DIR: write only what differs, remove what does not belong"},
    {.name = "--only",
     .value = "PATH",
     .help =
         "of files: these alone, or all below a directory; of tables: the database they were in",
     .repeats = true,
     .greedy = true},
    {.name = "--run-hooks", .help = "of files: run after_restore at the end"},
    {.name = "--table",
     .value = "SCHEMA.TABLE",
     .help = "a single table of a PostgreSQL database; goes with --into",
     .repeats = true,
     .greedy = true},
    {.name = "--into",
     .value = "CONNINFO",
     .help = "the database that tables are put into, as libpq takes it"},
    {.name = "--rename",
     .value = "SUFFIX",
     .help = "put tables beside those that are there: their names, and those of their indexes, get "
             "this"},
    {.name = "--replace", .help = "put tables in the place of those that are there"},
    {.name = "--start", .help = "start the server, and wait until it is there"},
    {.name = "--thaw",
     .value = "[SPEED]",
     .help = "ask the store to thaw what is in cold storage: bulk, standard (the default) or "
             "expedited",
     .choices = kThawSpeeds,
     .default_choice = "standard"},
    {.name = "--thaw-days", .value = "N", .help = "how long thawed copies are kept (7)"},
    {.name = "--wait", .help = "until all is thawed, and go on"},
};
constexpr Words kRestoreLater[] = {"--keep-ttl"};
constexpr Option kWalOptions[] = {
    {.name = "--component",
     .value = "NAME",
     .help = "where the configuration has more than one PostgreSQL"},
};
constexpr Option kWalFetchOptions[] = {
    {.name = "--component",
     .value = "NAME",
     .help = "where the configuration has more than one PostgreSQL"},
    {.name = "--system",
     .value = "ID",
     .help = "the system identifier; else that of the data directory it is called in"},
    {.name = "--last",
     .value = "SEGMENT",
     .help = "later segments count as not there: a server reads ahead of its target"},
};
constexpr Option kVerifyOptions[] = {
    {.name = "--all", .help = "every backup, and all WAL"},
    {.name = "--quick", .help = "only that every object is there, whole by its size"},
};
constexpr Words kVerifyLater[] = {"--restore"};
constexpr Option kPruneOptions[] = {
    {.name = "--dry-run", .help = "say what would be removed, and write nothing"},
    {.name = "--grace",
     .value = "DURATION",
     .help = "how long space waits before it is freed, for runs that may still use it (1d)"},
    {.name = "--wait-minimum",
     .help = "keep what is paid for by its class of storage until that time is over"},
};
constexpr Option kKeyAddOptions[] = {
    {.name = "--key-file",
     .value = "FILE",
     .help = "a key file, made (0600) if it is missing",
     .hint = ValueHint::kFile},
    {.name = "--passphrase-file",
     .value = "FILE",
     .help = "a passphrase, from a file",
     .hint = ValueHint::kFile},
    {.name = "--passphrase-env", .value = "NAME", .help = "a passphrase, from the environment"},
    {.name = "--label", .value = "TEXT", .help = "whose it is"},
};
constexpr Option kKeyRotateOptions[] = {
    {.name = "--passphrase-file",
     .value = "FILE",
     .help = "the new passphrase, from a file",
     .hint = ValueHint::kFile},
    {.name = "--passphrase-env",
     .value = "NAME",
     .help = "the new passphrase, from the environment"},
};
constexpr Option kKeyExportOptions[] = {
    {.name = "--to",
     .letter = 'o',
     .value = "FILE",
     .help = "where to; standard output if none is given",
     .hint = ValueHint::kFile},
    {.name = "--write-only", .help = "a key that takes backups and cannot read them"},
};

constexpr Command kCommands[] = {
    {.name = "setup",
     .arguments = "[DIR]",
     .most = 1,
     .summary = "look at this machine, and write a configuration to start from",
     .options = kSetupOptions,
     .run = run_setup,
     .details =
         "Finds PostgreSQL clusters, Redis, and in DIR (by default the current directory) what\n"
         "tells how a service is put together and where its secrets are. Writes "
         "DIR/holdfast.yaml,\n"
         "never over one that is there, and says what PostgreSQL must be told."},
    {.name = "init",
     .arguments = "",
     .summary = "create the configured repositories and their key files",
     .options = kInitOptions,
     .run = run_init,
     .details = "Changes nothing that exists. With -r, that repository alone. A new one has the "
                "keys of\nanother repository of the configuration that the same key file or "
                "passphrase opens."},
    {.name = "check",
     .arguments = "",
     .summary = "try everything that a backup needs, and say what to do",
     .run = run_check,
     .details =
         "Every repository, or the one that -r names; archiving is tried against that one or the\n"
         "first. Exit status: 0 all is good, 3 something wants attention, 1 something is bad."},
    {.name = "backup",
     .arguments = "[COMPONENT...]",
     .most = kAnyNumber,
     .summary = "back up the named components, all by default",
     .options = kBackupOptions,
     .run = run_backup},
    {.name = "dump",
     .arguments = "DATABASE",
     .least = 1,
     .most = 1,
     .summary = "take a logical dump of a database, by pg_dump",
     .options = kDumpOptions,
     .run = run_dump,
     .details = "Roles and tablespaces stand beside it. `cat` and `restore COMPONENT.DATABASE` "
                "give back what\npg_restore and psql take."},
    {.name = "list",
     .arguments = "[COMPONENT]",
     .most = 1,
     .summary = "the backups, and to which moments one can go back",
     .options = kListOptions,
     .run = run_list},
    {.name = "show",
     .arguments = "BACKUP",
     .least = 1,
     .most = 1,
     .summary = "one backup in full",
     .run = run_show,
     .details =
         "BACKUP is an id, a unique prefix of one, a component's name (its newest), or latest."},
    {.name = "cat",
     .arguments = "BACKUP [PATH]",
     .least = 1,
     .most = 2,
     .summary = "write one file of a backup to standard output",
     .run = run_cat,
     .details = "Without PATH: the files that it holds. Secrets are never shown."},
    {.name = "diff",
     .arguments = "BACKUP [BACKUP]",
     .least = 1,
     .most = 2,
     .summary = "what changed between two backups, or between one and now",
     .run = run_diff,
     .details = "One of files or secrets can be compared with now; of secrets, numbers are told."},
    {.name = "restore",
     .arguments = "COMPONENT --to DIR | COMPONENT --table TABLE... --into CONNINFO",
     .least = 1,
     .most = 1,
     .summary = "bring a component back, to any moment in its recovery window",
     .options = kRestoreOptions,
     .later = kRestoreLater,
     .run = run_restore,
     .details =
         "Leaves a data directory that recovers to the target when it is started. With no\n"
         "target: the end of the recovery window. Refuses a directory that is not empty. Exit\n"
         "status 3 after --thaw: come back when all is thawed."},
    {.name = "wal push",
     .arguments = "PATH",
     .least = 1,
     .most = 1,
     .summary = "archive a WAL file: archive_command = 'holdfast wal push \"%p\"'",
     .options = kWalOptions,
     .run = run_wal_push,
     .details = "Durable when it returns 0. The same file again is a success, another file of the\n"
                "same name an error."},
    {.name = "wal fetch",
     .arguments = "NAME DEST",
     .least = 2,
     .most = 2,
     .summary = "fetch a WAL file: restore_command = 'holdfast wal fetch %f \"%p\"'",
     .options = kWalFetchOptions,
     .run = run_wal_fetch,
     .details =
         "Exit status 4: it is not there. What keeps PostgreSQL's own recovery from fetching\n"
         "a file that may be there gives 255, so that recovery stops."},
    {.name = "wal list",
     .arguments = "",
     .summary = "the archived WAL, and what is missing in it",
     .options = kWalOptions,
     .run = run_wal_list},
    {.name = "verify",
     .arguments = "[BACKUP...]",
     .most = kAnyNumber,
     .summary = "re-read and check every byte of the backups",
     .options = kVerifyOptions,
     .later = kVerifyLater,
     .run = run_verify,
     .details = "The latest backup of each component if none is named. Exit status 5: damage."},
    {.name = "prune",
     .arguments = "",
     .summary = "remove what no job keeps any more; never the last good backup",
     .options = kPruneOptions,
     .run = run_prune,
     .details =
         "By `keep` of the jobs and of wal in the configuration, in every repository or in the\n"
         "one that -r names. Backups may run beside it.\n"
         "Exit status 3: something kept it from removing all that it should."},
    {.name = "copy",
     .arguments = "BACKUP... --to REPOSITORY",
     .least = 1,
     .most = kAnyNumber,
     .summary = "copy backups, and the WAL that they need, to another repository",
     .options = kCopyOptions,
     .run = run_copy,
     .details =
         "From the repository that -r names. What is there already is not sent again, so a copy\n"
         "that was interrupted goes on. Between repositories of the same keys any key will do,\n"
         "a write-only one too; else everything is read and stored anew, with the full key."},
    {.name = "key list",
     .arguments = "",
     .summary = "who can open the repository",
     .run = run_key_list},
    {.name = "key add",
     .arguments = "",
     .summary = "let another key file or passphrase open the repository",
     .options = kKeyAddOptions,
     .run = run_key_add},
    {.name = "key remove",
     .arguments = "ID",
     .least = 1,
     .most = 1,
     .summary = "take away a key; never the last one",
     .run = run_key_remove},
    {.name = "key rotate",
     .arguments = "",
     .summary = "a new secret in place of the one in use",
     .options = kKeyRotateOptions,
     .run = run_key_rotate,
     .details = "A key file is exchanged in its place, and the old one kept beside it."},
    {.name = "key export",
     .arguments = "[FILE]",
     .most = 1,
     .summary = "the repository's keys as a key file: to keep elsewhere, or for another host",
     .options = kKeyExportOptions,
     .run = run_key_export},
    {.name = "completion",
     .arguments = "bash|zsh|fish",
     .least = 1,
     .most = 1,
     .summary = "a script that completes commands and options in a shell",
     .run = run_completion},
    {.name = "version", .arguments = "", .summary = "the version", .run = run_version},
    {.name = "help",
     .arguments = "[COMMAND]",
     .most = 2,
     .summary = "help on a command, or on the configuration",
     .run = run_help},
};

constexpr Words kLaterCommands[] = {"follow", "mount",  "drill",   "recover",
                                    "status", "daemon", "metrics", "alerts"};

constexpr Language kLanguage{.commands = kCommands, .globals = kGlobals, .later = kLaterCommands};

}  // namespace

const Language& language() { return kLanguage; }

}  // namespace holdfast::cli
