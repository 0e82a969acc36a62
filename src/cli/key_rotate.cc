#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/key_options.h"
#include "cli/session.h"
#include "stack/key_rotation.h"
#include "stack/repositories.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;

// All repositories that the key file opens: the new secret must open every one of them.
std::vector<std::unique_ptr<repository::Repository>> sharing(Session& session,
                                                             const std::string& key_file) {
  std::vector<std::unique_ptr<repository::Repository>> result;
  for (const auto& config : session.config().repositories) {
    if (config.key_file != key_file) continue;
    try {
      result.push_back(stack::open_repository(config, session.clock(), session.random()));
    } catch (Error& error) {
      error.add_context(fmt::format("the key file {} belongs to {} too", key_file, config.name));
      throw;
    }
  }
  return result;
}

nlohmann::json hex(const std::vector<repository::SlotId>& ids) {
  nlohmann::json result = nlohmann::json::array();
  for (const auto& id : ids) result.push_back(id.hex());
  return result;
}

}  // namespace

int run_key_rotate(Session& session) {
  const std::string& key_file = session.repository_config().key_file;
  const auto passphrase = new_passphrase(session.arguments());
  stack::RotatedKey rotated;
  if (key_file.empty()) {
    if (!passphrase) {
      throw Error(ErrorKind::kUsage, "the repository is opened by a passphrase: give the new one",
                  "--passphrase-file FILE or --passphrase-env NAME");
    }
    rotated = stack::rotate_passphrase(session.repository(), *passphrase);
    session.print(
        fmt::format("The new passphrase opens the repository, the old one does not any more.\n"
                    "Now see to it that {} gives the new one.",
                    session.repository_config().passphrase.where));
  } else {
    if (passphrase) {
      throw Error(ErrorKind::kUsage, "the repository is opened by a key file, not a passphrase",
                  "rotate without options, or add a passphrase with `holdfast key add`");
    }
    rotated = stack::rotate_key_file(sharing(session, key_file), key_file);
    session.print(fmt::format(
        "{}{} holds a new secret; the old one, which opens nothing any more, is kept in\n{}.\n"
        "Keep a copy of the new key file in another place too.",
        rotated.finished_earlier ? "An interrupted rotation was finished. " : "", key_file,
        rotated.old_key_file));
  }
  if (session.json()) {
    session.print_json(
        {{"added", hex(rotated.added)},
         {"removed", hex(rotated.removed)},
         {"key_file", key_file.empty() ? nlohmann::json(nullptr) : nlohmann::json(key_file)},
         {"old_key_file", rotated.old_key_file.empty() ? nlohmann::json(nullptr)
                                                       : nlohmann::json(rotated.old_key_file)}});
  }
  return kDone;
}

}  // namespace holdfast::cli
