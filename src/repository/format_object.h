// The object `format`: what tells that a directory is a repository, and which.
#pragma once

#include <optional>
#include <string>

#include "repository/keyring.h"

namespace holdfast::repository {

struct FormatObject {
  RepositoryId repository;
  std::string parameters_json;
  base::Bytes authenticated;  // all bytes before the MAC
  std::array<std::uint8_t, 32> mac{};
};

base::Bytes encode_format(const Keyring& keyring, std::string_view parameters_json);
// Nullopt where there is none; kDamaged, or kFailed for a version of a newer program. What it gives
// is not yet authenticated.
std::optional<FormatObject> load_format(storage::Storage& storage);
bool authenticates(const FormatObject& format, const Keyring& keyring);

}  // namespace holdfast::repository
