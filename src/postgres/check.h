// Everything that a backup of a cluster needs, tried one after the other.
#pragma once

#include <functional>
#include <string>

#include "repository/repository.h"

namespace holdfast::postgres {

enum class Verdict { kGood, kAttention, kBad };

struct Finding {
  Verdict verdict = Verdict::kGood;
  std::string what;    // "archive_command"
  std::string detail;  // what was found
  std::string advice;  // what to do; empty if good
};

struct ClusterCheckRequest {
  std::string component;
  std::string connection;
  std::string archive_command_example;  // for the advice
  bool try_archiving = true;            // switch a segment and wait for it to arrive (at most 20 s)
};

// `context` is null where the repository could not be opened.
void check_cluster(const repository::Context* context, const ClusterCheckRequest& request,
                   const std::function<void(Finding)>& report);

}  // namespace holdfast::postgres
