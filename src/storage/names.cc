#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "storage/storage.h"

namespace holdfast::storage {
namespace {

constexpr std::size_t kMaxPartBytes = 255;
constexpr std::size_t kMaxNameBytes = 1000;
constexpr std::size_t kMaxShownBytes = 100;

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

bool is_valid_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPartBytes && part != "." && part != ".." &&
         std::all_of(part.begin(), part.end(), is_name_byte);
}

// Fit for a message: one line, of bounded length, whatever the name holds.
std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, kMaxShownBytes)) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return name.size() > kMaxShownBytes ? text + "…" : text;
}

}  // namespace

bool is_valid_name(std::string_view name) {
  if (name.size() > kMaxNameBytes) return false;
  if (name == "tmp" || name.starts_with("tmp/")) return false;
  for (;;) {
    const std::size_t slash = name.find('/');
    if (!is_valid_part(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

void check_name(std::string_view name) {
  if (is_valid_name(name)) return;
  throw base::Error(base::ErrorKind::kFailed,
                    fmt::format("\"{}\" cannot be the name of an object", shown(name)));
}

void check_prefix(std::string_view prefix) {
  if (prefix.empty()) return;
  if (prefix.ends_with('/') && is_valid_name(prefix.substr(0, prefix.size() - 1))) return;
  throw base::Error(base::ErrorKind::kFailed,
                    fmt::format("\"{}\" cannot be a prefix of object names", shown(prefix)));
}

}  // namespace holdfast::storage
