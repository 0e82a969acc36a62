#include "repository/fence.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>

#include "base/error.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kPrefix = "fences/";
constexpr std::size_t kDigits = 16;
constexpr std::uint64_t kGreatest = (std::uint64_t{1} << 53) - 1;

// A component's name stands as it is; all else is escaped, so that no two scopes share a name.
std::string prefix_of(std::string_view scope) {
  std::string name(kPrefix);
  for (const char c : scope) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_';
    if (plain) {
      name += c;
    } else {
      name += fmt::format(".{:02x}", static_cast<unsigned char>(c));
    }
  }
  return name + (scope.empty() ? "repository./" : "/");
}

std::string name_of(std::string_view prefix, std::uint64_t number) {
  return fmt::format("{}{:016x}", prefix, number);
}

// Nullopt for a name that no run gives.
std::optional<std::uint64_t> number_in(std::string_view name) {
  if (name.size() < kDigits) return std::nullopt;
  const std::string_view prefix = name.substr(0, name.size() - kDigits);
  std::uint64_t number = 0;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number, 16);
  if (number == 0 || number > kGreatest || name_of(prefix, number) != name) return std::nullopt;
  return number;
}

// Adds what stands under `name`, in the order of names.
void add(Fences& fences, std::string& highest, const std::string& name) {
  const auto number = number_in(name);
  if (!number) return;
  if (!highest.empty()) fences.passed.push_back(highest);
  highest = name;
  fences.highest = *number;
}

}  // namespace

Fences list_fences(const Context& context, std::string_view scope) {
  Fences fences;
  std::string highest;
  context.storage.list(prefix_of(scope), [&](const storage::ObjectInfo& object) {
    add(fences, highest, object.name);
  });
  return fences;
}

bool put_fence(const Context& context, std::string_view scope, std::uint64_t number,
               std::string_view run) {
  const std::string name = name_of(prefix_of(scope), number);
  if (number > kGreatest) {
    throw base::Error(base::ErrorKind::kDamaged,
                      fmt::format("{} would be greater than runs can have counted", name),
                      "where nothing is at work on the repository, remove the objects below "
                      "fences/");
  }
  if (put_metadata(context, name, MetadataKind::kFence, base::as_bytes(run)) ==
      storage::PutResult::kCreated) {
    return true;
  }
  // The own one, where a put was repeated because its answer was lost.
  const auto body = get_metadata(context, name, MetadataKind::kFence);
  return body && base::as_text(*body) == run;
}

void remove_passed_fences(const Context& context) {
  std::map<std::string, std::pair<Fences, std::string>> scopes;
  context.storage.list(kPrefix, [&](const storage::ObjectInfo& object) {
    auto& [fences, highest] = scopes[object.name.substr(0, object.name.rfind('/'))];
    add(fences, highest, object.name);
  });
  std::vector<std::string> passed;
  for (const auto& [scope, found] : scopes) {
    passed.insert(passed.end(), found.first.passed.begin(), found.first.passed.end());
  }
  try {
    if (!passed.empty()) context.storage.remove_all(passed);
  } catch (const base::Error& error) {
    if (!is_refusal(error)) throw;
  }
}

bool is_refusal(const base::Error& error) {
  return error.kind() == base::ErrorKind::kPermission || error.kind() == base::ErrorKind::kRefused;
}

}  // namespace holdfast::repository
