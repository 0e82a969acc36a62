#include "postgres/conninfo.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "postgres/libpq.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { libpq().conninfoFree(options); }
};
using OptionsPtr = std::unique_ptr<PQconninfoOption, FreeOptions>;

ConnectionOptions options_of(const OptionsPtr& parsed) {
  ConnectionOptions options;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) options.emplace_back(option->keyword, option->val);
  }
  return options;
}

// A URI's authority and path, without user and password as libpq finds their end: at the first @
// that no / precedes. Empty for what is no URI.
std::string_view place_in_uri(std::string_view text) {
  for (const std::string_view scheme : {"postgresql://", "postgres://"}) {
    if (!text.starts_with(scheme)) continue;
    text.remove_prefix(scheme.size());
    const auto end = text.find_first_of("@/");
    if (end != std::string_view::npos) text.remove_prefix(end + 1);
    return text.substr(0, text.find('?'));
  }
  return {};
}

// An @ at the beginning is an abstract socket's.
bool can_be_host(std::string_view text) { return text.find('@', 1) == std::string_view::npos; }

bool can_be_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return text.empty() || (problem == std::errc{} && end == text.data() + text.size());
}

// `text`: a host or a port, or several with commas between them.
bool each(std::string_view text, bool (*is_good)(std::string_view)) {
  while (true) {
    const auto comma = text.find(',');
    if (!is_good(text.substr(0, comma))) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

bool is_odd(const std::pair<std::string, std::string>& option) {
  const auto& [name, value] = option;
  if (name == "host" || name == "hostaddr") return !each(value, can_be_host);
  return name == "port" && !each(value, can_be_port);
}

}  // namespace

ConnectionOptions read_conninfo(const std::string& text) {
  char* problem = nullptr;
  const OptionsPtr parsed(libpq().conninfoParse(text.c_str(), &problem));
  if (problem != nullptr) libpq().freemem(problem);
  if (!parsed) {
    throw Error(ErrorKind::kConfig, "a connection string is not as libpq takes it",
                "it looks like \"host=/var/run/postgresql user=postgres dbname=postgres\"; values "
                "with spaces stand in single quotes");
  }
  ConnectionOptions options = options_of(parsed);
  if (place_in_uri(text).find('@') != std::string_view::npos ||
      std::any_of(options.begin(), options.end(), is_odd)) {
    throw Error(ErrorKind::kConfig,
                "the host or the port in a connection string is none; a part of a password may "
                "have been taken for it",
                "in a URI the characters @ : / ? # % of a user or password are written %40 %3A "
                "%2F %3F %23 %25; a port is a number");
  }
  return options;
}

std::string conninfo_of(const ConnectionOptions& options) {
  std::string out;
  for (const auto& [name, value] : options) {
    out += fmt::format("{}{}='", out.empty() ? "" : " ", name);
    for (const char c : value) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    out += '\'';
  }
  return out;
}

std::optional<std::string> user_of(const std::string& conninfo) {
  const OptionsPtr parsed(libpq().conninfoParse(conninfo.c_str(), nullptr));
  if (!parsed) return std::nullopt;
  for (const auto& [name, value] : options_of(parsed)) {
    if (name == "user") return value;
  }
  return std::nullopt;
}

}  // namespace holdfast::postgres
