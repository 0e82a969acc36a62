#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/error_json.h"
#include "cli/session.h"
#include "stack/repositories.h"

namespace holdfast::cli {
namespace {

using base::Error;
using stack::RepositoryConfig;

void print_created(Session& session, const RepositoryConfig& config,
                   const stack::CreatedRepository& made) {
  session.print(fmt::format("{}: {} {}", config.name, config.url,
                            made.created ? "created" : "exists already; nothing changed"));
  if (made.key_file_created) session.print(fmt::format("  key file: {}", config.key_file));
  if (!made.created) return;
  if (!made.shares_keys_with.empty()) {
    session.print(fmt::format(
        "  It has the keys of {}: `holdfast copy` moves backups between the two as they are.",
        made.shares_keys_with));
  }
  if (config.key_file.empty()) {
    session.print(
        "  Keep the passphrase in another place too: without it nobody can read the backups.");
  } else {
    session.print(fmt::format(
        "  Keep a copy of {} in another place too, away from this machine and from the\n"
        "  repository: without it nobody can read the backups. (`holdfast key export` prints a "
        "copy.)",
        config.key_file));
  }
}

nlohmann::json result_of(const RepositoryConfig& config, const stack::CreatedRepository& made) {
  return {
      {"name", config.name},
      {"url", config.url},
      {"created", made.created},
      {"key_file",
       config.key_file.empty() ? nlohmann::json(nullptr) : nlohmann::json(config.key_file)},
      {"key_file_created", made.key_file_created},
      {"shares_keys_with", made.shares_keys_with.empty() ? nlohmann::json(nullptr)
                                                         : nlohmann::json(made.shares_keys_with)}};
}

}  // namespace

int run_init(Session& session) {
  std::vector<RepositoryConfig> wanted = session.config().repositories;
  if (session.arguments().has("--repository")) wanted = {session.repository_config()};
  const stack::KeyChoice keys{.others = session.config().repositories,
                              .own_keys = session.arguments().has("--own-keys")};
  nlohmann::json results = nlohmann::json::array();
  int status = kDone;
  for (const RepositoryConfig& config : wanted) {
    stack::CreatedRepository made;
    try {
      made = stack::create_repository(config, session.clock(), session.random(), keys);
      for (const std::string& note : made.notes) session.warn(note);
      print_created(session, config, made);
      results.push_back(result_of(config, made));
    } catch (Error& error) {
      // One that fails is no reason to leave out the others; with one alone it is the answer.
      if (wanted.size() == 1 || error.kind() == base::ErrorKind::kInterrupted) throw;
      results.push_back(result_of(config, made));
      results.back()["error"] = error_json(error);
      error.add_context(config.name);
      session.error(error);
      status = kFailed;
    }
  }
  if (session.json()) session.print_json({{"repositories", results}});
  return status;
}

}  // namespace holdfast::cli
