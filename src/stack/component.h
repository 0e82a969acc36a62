// A thing that is backed up, whatever its kind. A new kind is one implementation of Component, in
// terms of a folder of its own, and one line in the table in component.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repository/cold_packs.h"
#include "repository/record.h"
#include "stack/config.h"

namespace holdfast::stack {

struct BackupOptions {
  std::string kind = "full";
  std::string job;  // empty: none
  int workers = 2;
  std::uint64_t rate_bytes = 0;  // a second; 0: no limit
  bool accept_new_system = false;
  bool hold_wal = false;  // PostgreSQL: the server archives elsewhere, and is to keep it meanwhile
  std::optional<double> audit_share;  // of what is taken for unchanged; the component's own else
};

struct DumpOptions {
  std::string database;
  std::string format = "custom";         // "custom", "plain", "directory"
  std::vector<std::string> tables = {};  // pg_dump's patterns; none: the whole database
  int parallel = 1;                      // connections, of the directory format
  std::string job = {};                  // empty: none
  std::filesystem::path scratch = {};    // where the directory format is written first
};

struct RestoreOptions {
  std::filesystem::path to;           // absolute
  std::optional<std::string> backup;  // an id
  std::optional<base::Time> at;
  bool latest = false;  // the end of the recovery window, also where a backup is named
  bool delta = false;   // over what is there: write only what differs, remove what does not belong
  bool start = false;   // start the server and wait until it has recovered
  int workers = 2;
  repository::ThawRequest thaw;  // of what is in cold storage
  // Of files, secrets and dumps alone; other kinds refuse it (kUsage).
  std::vector<std::string> only = {};  // paths; a directory means all below it
  // Of PostgreSQL alone; other kinds refuse them (kUsage).
  std::optional<std::string> lsn;
  std::optional<std::string> xid;
  std::optional<std::string> name;
  std::string timeline;                            // empty: latest
  std::string action;                              // empty: promote
  std::map<std::string, std::string> tablespaces;  // old location → new
  std::string restore_command;                     // for the server, with %f and %p
};

struct RestoreOutcome {
  std::string backup;  // the id of the backup that it began from
  std::uint64_t bytes = 0;
  std::uint64_t bytes_written = 0;  // of them; the rest was there already
  std::uint64_t files = 0;
  std::uint64_t removed = 0;               // files that did not belong, with `delta`
  std::vector<std::string> notes;          // what the user should know
  std::vector<std::string> warnings = {};  // what the user must look at
  std::string next_step;  // what remains for the user to do, as a sentence; or empty
  struct Reached {
    std::optional<base::Time> time;
    std::string lsn;
    std::string server;  // how to connect; empty where it does not run
  };
  std::optional<Reached> reached;  // only where it was started
};

struct TableRestoreOptions {
  std::vector<std::string> tables;    // "SCHEMA.TABLE"
  std::string into;                   // libpq connection string of the target database
  std::optional<std::string> source;  // the database they were in; else found
  std::optional<std::string> backup;  // an id, of the component or of one of its dumps
  std::optional<base::Time> at;       // none: the end of the recovery window
  std::optional<std::string> rename_suffix;
  bool replace = false;
  std::string restore_command;    // for the private server, with %f and %p
  std::filesystem::path scratch;  // where the private server's directory is made
  int workers = 2;
  repository::ThawRequest thaw = {};
};

struct TableRestoreOutcome {
  std::string backup;  // the id that it came from
  bool from_dump = false;
  struct Table {
    std::string source;  // "SCHEMA.TABLE"
    std::string target;  // the same with the suffix, where one was given
    std::uint64_t rows = 0;
  };
  std::vector<Table> tables;
  std::string database;               // that they went to
  std::optional<base::Time> reached;  // the last transaction that is in it
  std::string reached_lsn;            // empty: from a dump
  std::vector<std::string> notes;
  std::vector<std::string> warnings;  // what the user must look at
};

// To which moments a component can be brought back.
struct RecoveryWindow {
  std::optional<base::Time> from;
  std::optional<base::Time> to;
  bool continuous = false;  // false: only the ends of the backups
  bool has_logs = false;    // the kind has logs; where it is not continuous, they have a gap
};

// Which logs may go, as a component's kind knows.
struct LogRetention {
  struct Backup {
    repository::BackupSummary summary;
    base::Time ended;
  };
  std::vector<Backup> kept;            // all backups of the kind that stay, of all components
  std::optional<base::Duration> keep;  // none: as long as a backup that stays can use them
  base::Time now;                      // by the storage's clock
  // When the oldest run at work began: what was put since may be its backup's.
  std::optional<base::Time> oldest_run;
  bool other_systems = false;  // logs of systems of which no backup stays may go too
};
struct LogRemoval {
  std::vector<std::string> objects;
  std::uint64_t bytes = 0;
};

enum class Verdict { kGood, kAttention, kBad };

struct Finding {
  Verdict verdict = Verdict::kGood;
  std::string what;
  std::string detail;
  std::string advice;        // empty if good
  std::string component;     // empty: it is of none
  std::string repository{};  // empty: it is of none
};
using Findings = std::function<void(Finding)>;

struct CheckOptions {
  std::string archive_command;  // what should stand in PostgreSQL's configuration
};

class Component {
 public:
  virtual ~Component() = default;

  // The backup exists when this returns. kLocked while another one of the same component runs.
  virtual repository::BackupSummary take_backup(const repository::Context& context,
                                                const BackupOptions& options,
                                                base::Progress& progress, std::stop_token stop) = 0;

  virtual RestoreOutcome restore(const repository::Context& context, const RestoreOptions& options,
                                 base::Progress& progress, std::stop_token stop) = 0;

  // Of databases; kUsage for all other kinds.
  virtual repository::BackupSummary take_dump(const repository::Context& context,
                                              const DumpOptions& options, base::Progress& progress,
                                              std::stop_token stop);
  virtual TableRestoreOutcome restore_tables(const repository::Context& context,
                                             const TableRestoreOptions& options,
                                             base::Progress& progress, std::stop_token stop);

  // `backups`: all of this component, oldest first, at least one. By default their ends.
  virtual RecoveryWindow recovery_window(const repository::Context& context,
                                         const std::vector<repository::BackupSummary>& backups);

  // Log objects that a backup needs beside its chunks; by default none.
  virtual std::vector<std::string> needed_logs(const repository::BackupSummary& backup);

  // Whether nothing in the backup is known to be wrong.
  virtual bool is_good(const repository::BackupSummary& backup) = 0;
  // What it is a backup of, by itself: two that differ in it have nothing in common but the name.
  // By default nothing tells them apart.
  virtual std::string system_of(const repository::BackupSummary& backup);
  virtual LogRemoval logs_to_remove(const repository::Context& context,
                                    const LogRetention& retention);

  // Tries everything that a backup needs; never throws for what it finds. `context` is null where
  // the repository could not be opened.
  virtual void check(const repository::Context* context, const CheckOptions& options,
                     const Findings& report) = 0;
};

// Null where this version does not know the type.
std::unique_ptr<Component> find_component(const ComponentConfig& config);
// The component of which this is a backup, whether or not the configuration still has it: for what
// needs no connection.
std::unique_ptr<Component> find_component(const repository::BackupSummary& backup);
// kConfig instead.
std::unique_ptr<Component> make_component(const ComponentConfig& config);

}  // namespace holdfast::stack
