// One run of the program: what was asked, where results go, and the configuration and repository,
// each loaded when a command first needs it.
#pragma once

#include <cstdio>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "base/time.h"
#include "cli/arguments.h"
#include "crypto/kdf.h"
#include "repository/repository.h"
#include "stack/config.h"

namespace holdfast::cli {

struct Streams {
  std::FILE* out = nullptr;  // results
  std::FILE* err = nullptr;  // progress, notes, errors
  bool err_is_terminal = false;
};

void print_error(const Streams& streams, const base::Error& error);

class Session {
 public:
  Session(const Arguments& arguments, const Streams& streams, std::stop_token stop);
  ~Session();

  const Arguments& arguments() const { return arguments_; }
  bool json() const { return arguments_.has("--json"); }
  bool verbose() const { return arguments_.has("--verbose"); }
  std::stop_token stop() const { return stop_; }
  const base::Clock& clock() const { return clock_; }
  crypto::Random& random() { return random_; }

  const stack::Config& config();
  // The one that -r names; else that of the component which prefer() named; else the default.
  const stack::RepositoryConfig& repository_config();
  // From here on the repository is the first of those that the component names for itself, if it
  // does. `text` is a component's name, or begins with one as a backup's id does. Before
  // repository().
  void prefer_repository_of(std::string_view text);
  // Null where it is none's.
  const stack::ComponentConfig* component_named(std::string_view text);
  repository::Repository& repository();
  // For commands that may work on several: the one that -r names, or else `preferred`.
  using RepositoryConfigs = std::vector<const stack::RepositoryConfig*>;
  RepositoryConfigs repository_configs(RepositoryConfigs preferred);
  RepositoryConfigs all_repositories();
  std::unique_ptr<repository::Repository> open(const stack::RepositoryConfig& repository);
  int workers();  // threads at work: the configured number, or one a core

  // A line of the result as text; nothing with --json.
  void print(std::string_view line);
  // The result with --json: once.
  void print_json(const nlohmann::json& document);
  // Lines on standard error, unless --quiet.
  void note(std::string_view line);
  void warn(std::string_view line);
  // "holdfast: …" and the hint, as for an error that ends the run.
  void error(const base::Error& error);
  // For work that takes a while. Alive for the length of that work.
  std::unique_ptr<base::Progress> progress();
  std::FILE* out() const { return streams_.out; }

 private:
  bool quiet() const { return arguments_.has("--quiet"); }

  const Arguments& arguments_;
  Streams streams_;
  std::stop_token stop_;
  base::SystemClock clock_;
  crypto::SystemRandom random_;
  std::unique_ptr<stack::Config> config_;
  std::string preferred_repository_;  // empty: the default
  std::unique_ptr<repository::Repository> repository_;
};

}  // namespace holdfast::cli
