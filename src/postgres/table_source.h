// Where single tables are taken from: a logical dump where one fits the moment, else the physical
// backup; and what that will take.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "postgres/dump_details.h"
#include "postgres/restore_plan.h"

namespace holdfast::postgres {

struct TableSourceRequest {
  std::string component;
  std::optional<std::string> database;  // none: found
  std::string target_database;          // the likeliest name
  std::optional<std::string> backup;    // an id, of the component or of one of its dumps
  std::optional<base::Time> at;
  bool with_dumps = true;  // else, without `backup`, the physical backup alone
};

struct TableSource {
  std::string database;
  // One of the two.
  std::optional<RestorePlan> plan;
  std::optional<repository::BackupRecord> dump;
  // Of a plan: what the copy must hold; none: all.
  std::optional<std::set<std::uint32_t>> databases;

  const repository::BackupSummary& backup() const {
    return plan ? plan->record.summary : dump->summary;
  }
  int major() const;
};

// kNotFound (exit 4) for a moment outside of the recovery window, naming it; kUsage where it is not
// clear which database is meant.
TableSource find_table_source(const repository::Context& context,
                              const TableSourceRequest& request);

struct TableSourceNeeds {
  std::uint64_t bytes = 0;     // of scratch space
  std::uint64_t segments = 0;  // of WAL that are replayed
  base::Duration time{};       // until the server is there, about
};
TableSourceNeeds needs_of(const repository::Context& context, const TableSource& source);

// "some 1.2 GiB in /var/tmp (40 GiB are free), …". kNoSpace where it does not fit.
std::string require_space(const TableSourceNeeds& needs, const std::filesystem::path& scratch);

}  // namespace holdfast::postgres
