// Retention that the store itself keeps (WORM), where the repository locks its objects: what is
// locked nobody can destroy, with any credentials. docs/tiers.md, "Object lock".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "repository/index.h"

namespace holdfast::repository {

// Those of the objects that are locked past `now`, and until when. Empty where the repository does
// not lock: then nothing is asked.
std::map<std::string, base::Time> locked_objects(const Context& context,
                                                 const std::vector<std::string>& names,
                                                 base::Time now, std::stop_token stop);
std::map<PackId, base::Time> locked_packs(const Context& context, const Index& index,
                                          const std::vector<std::uint32_t>& packs, base::Time now,
                                          std::stop_token stop);

struct Coverage {
  std::uint64_t objects = 0;   // that the backups need
  std::uint64_t extended = 0;  // whose lock was extended
  base::Time until;            // all are locked until then at least, where nothing is wrong
  std::vector<std::string> problems{};
};

// Everything that these backups need (records, packs, index objects, logs, keys, format) is locked
// for the repository's period from `now` on, by the storage's clock, at least: each is asked for,
// and extended where that is too little, by a quarter more. Nullopt where the repository does not
// lock. What cannot be locked is a problem, not an exception.
std::optional<Coverage> cover_backups(const Context& context,
                                      const std::vector<std::string>& backups,
                                      const std::vector<std::string>& logs, base::Time now,
                                      std::stop_token stop);

}  // namespace holdfast::repository
