#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/key_options.h"
#include "cli/session.h"
#include "cli/text_table.h"
#include "stack/key_rotation.h"
#include "stack/repositories.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using repository::Credential;
using repository::KeySlot;

std::string_view kind_word(Credential::Kind kind) {
  return kind == Credential::Kind::kPassphrase ? "passphrase" : "key file";
}

// The slot whose id begins so; kNotFound, or kUsage where there are more.
KeySlot find_slot(const std::vector<KeySlot>& slots, const std::string& prefix) {
  const KeySlot* found = nullptr;
  for (const KeySlot& slot : slots) {
    if (!slot.id.hex().starts_with(prefix)) continue;
    if (found != nullptr) {
      throw Error(ErrorKind::kUsage, fmt::format("more than one key begins with {}", prefix));
    }
    found = &slot;
  }
  if (found != nullptr) return *found;
  throw Error(ErrorKind::kNotFound, fmt::format("there is no key {}", prefix),
              "see `holdfast key list`");
}

}  // namespace

std::optional<Credential> new_passphrase(const Arguments& arguments) {
  const auto file = arguments.value("--passphrase-file");
  const auto variable = arguments.value("--passphrase-env");
  if (!file && !variable) return std::nullopt;
  if (file && variable) {
    throw Error(ErrorKind::kUsage, "--passphrase-file and --passphrase-env cannot be combined");
  }
  using Kind = stack::SecretSource::Kind;
  const stack::SecretSource source =
      file ? stack::SecretSource{Kind::kFile, *file, "--passphrase-file"}
           : stack::SecretSource{Kind::kEnvironment, *variable, "--passphrase-env"};
  Credential credential;
  credential.kind = Credential::Kind::kPassphrase;
  credential.passphrase = stack::read_secret(source);
  return credential;
}

int run_key_list(Session& session) {
  repository::Repository& repository = session.repository();
  std::vector<std::string> damaged;
  const auto slots = repository::list_key_slots(repository.storage(), &damaged);
  TextTable table({"ID", "KIND", "RIGHTS", "CREATED", "LABEL", ""});
  nlohmann::json keys = nlohmann::json::array();
  for (const KeySlot& slot : slots) {
    const bool in_use = repository.slot() == slot.id;
    table.add({slot.id.hex(), std::string(kind_word(slot.kind)), slot.full ? "full" : "write-only",
               base::format_time(std::chrono::floor<std::chrono::seconds>(slot.created)),
               slot.label, in_use ? "in use" : ""});
    keys.push_back(
        {{"id", slot.id.hex()},
         {"kind", slot.kind == Credential::Kind::kPassphrase ? "passphrase" : "key_file"},
         {"rights", slot.full ? "full" : "write-only"},
         {"label", slot.label},
         {"created", base::format_time(slot.created)},
         {"in_use", in_use}});
  }
  session.print(table.text());
  for (const std::string& object : damaged) session.warn(fmt::format("{} is damaged", object));
  if (session.json()) session.print_json({{"keys", keys}, {"damaged", damaged}});
  return damaged.empty() ? kDone : kDamaged;
}

int run_key_add(Session& session) {
  const Arguments& arguments = session.arguments();
  const auto file = arguments.value("--key-file");
  auto credential = new_passphrase(arguments);
  if (file.has_value() == credential.has_value()) {
    throw Error(ErrorKind::kUsage,
                "`key add` wants one of --key-file, --passphrase-file and "
                "--passphrase-env");
  }
  repository::Repository& repository = session.repository();
  repository.require_reading("key add");
  bool created = false;
  if (file) {
    created = stack::create_key_file(*file, session.random());
    credential = stack::read_key_file(*file);
  }
  if (!created && stack::opens(repository, *credential)) {
    throw Error(ErrorKind::kRefused, "that key opens the repository already");
  }
  const auto id = repository::add_key_slot(repository.storage(), repository.keyring(), *credential,
                                           arguments.value("--label").value_or(""),
                                           session.clock().now(), session.random());
  session.print(fmt::format("added {}{}", id.hex(),
                            created ? fmt::format(", with the new key file {}", *file) : ""));
  if (session.json()) {
    session.print_json({{"added", id.hex()},
                        {"key_file", file ? nlohmann::json(*file) : nlohmann::json(nullptr)},
                        {"key_file_created", created}});
  }
  return kDone;
}

int run_key_remove(Session& session) {
  repository::Repository& repository = session.repository();
  repository.require_reading("key remove");
  const KeySlot slot = find_slot(repository::list_key_slots(repository.storage()),
                                 session.arguments().positional.front());
  if (repository.slot() == slot.id) {
    throw Error(ErrorKind::kRefused, "this is the key that the configuration uses",
                "give it a new secret with `holdfast key rotate`, or change the configuration "
                "first");
  }
  repository::remove_key_slot(repository.storage(), slot.id);
  session.print(fmt::format("removed {} ({}{})", slot.id.hex(), kind_word(slot.kind),
                            slot.label.empty() ? "" : ", " + slot.label));
  if (session.json()) session.print_json({{"removed", slot.id.hex()}});
  return kDone;
}

int run_key_export(Session& session) {
  const Arguments& arguments = session.arguments();
  auto file = arguments.value("--to");
  if (!arguments.positional.empty()) {
    if (file) throw Error(ErrorKind::kUsage, "two files are given");
    file = arguments.positional.front();
  }
  if (session.json() && !file) {
    throw Error(ErrorKind::kUsage, "a key never goes into JSON", "name a file: key export FILE");
  }
  repository::Repository& repository = session.repository();
  repository.require_reading("key export");
  const bool write_only = arguments.has("--write-only");
  const crypto::SecretText text = repository::print_key_file(
      write_only ? repository.keyring().write_only() : repository.keyring(), session.clock().now());
  const std::string_view rights = write_only ? "write-only" : "full";
  if (!file) {
    fmt::print(session.out(), "{}{}", text.view(), text.view().ends_with('\n') ? "" : "\n");
    return kDone;
  }
  if (!base::create_file_durably(*file, base::as_bytes(text.view()), 0600)) {
    throw Error(ErrorKind::kRefused, fmt::format("{} exists already", *file),
                "name a new file: an older key may stand in this one");
  }
  session.print(fmt::format("wrote a {} key to {}", rights, *file));
  if (session.json()) session.print_json({{"file", *file}, {"rights", rights}});
  return kDone;
}

}  // namespace holdfast::cli
