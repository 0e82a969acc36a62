// Fencing numbers: who takes an exclusive lock puts the next number of its scope, and the highest
// one is the only one that counts. A run that was paused, and whose lock another took for gone,
// finds a higher number when it wakes. Taken with put-if-absent and list alone. Internal to this
// folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "repository/repository.h"

namespace holdfast::repository {

struct Fences {
  std::uint64_t highest = 0;        // 0: there is none yet
  std::vector<std::string> passed;  // names of those below it
};
Fences list_fences(const Context& context, std::string_view scope);  // empty: the whole repository

// `run` says whose it is. False: another run has that number.
bool put_fence(const Context& context, std::string_view scope, std::uint64_t number,
               std::string_view run);

// Those that a higher one of their scope has passed. Does nothing where the right to is lacking.
void remove_passed_fences(const Context& context);

// What a credential may not do is no failure where it only cleans up.
bool is_refusal(const base::Error& error);

}  // namespace holdfast::repository
