#include "postgres/table_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "postgres/crc32c.h"

namespace holdfast::postgres {
namespace {

[[noreturn]] void no_name(std::string_view text) {
  throw base::Error(base::ErrorKind::kUsage, fmt::format("\"{}\" is no name of a table", text),
                    "for example orders, shop.orders, or 'shop.\"Odd.Name\"' with the quotes where "
                    "SQL needs them");
}

char folded(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// One part of the name, of which `rest` is what follows.
std::string take_part(std::string_view text, std::string_view& rest) {
  std::string part;
  if (!rest.starts_with('"')) {
    const std::size_t end = std::min(rest.find('.'), rest.size());
    for (const char c : rest.substr(0, end)) {
      if (c == '"') no_name(text);
      part += folded(c);
    }
    rest.remove_prefix(end);
    return part;
  }
  rest.remove_prefix(1);
  for (;;) {
    const std::size_t quote = rest.find('"');
    if (quote == std::string_view::npos) no_name(text);
    part += rest.substr(0, quote);
    rest.remove_prefix(quote + 1);
    if (!rest.starts_with('"')) return part;
    part += '"';
    rest.remove_prefix(1);
  }
}

bool is_plain(std::string_view name) {
  const auto starts = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  const auto follows = [&](char c) { return starts(c) || (c >= '0' && c <= '9') || c == '$'; };
  return !name.empty() && starts(name.front()) && std::all_of(name.begin(), name.end(), follows);
}

std::string shown(const std::string& name) {
  return is_plain(name) ? name : quote_identifier(name);
}

}  // namespace

TableName parse_table_name(std::string_view text) {
  std::vector<std::string> parts;
  std::string_view rest = text;
  for (;;) {
    parts.push_back(take_part(text, rest));
    if (parts.back().empty() || parts.back().size() > kLongestName || parts.size() > 2) {
      no_name(text);
    }
    if (rest.empty()) break;
    if (!rest.starts_with('.')) no_name(text);
    rest.remove_prefix(1);
  }
  if (parts.size() == 1) return {"public", parts[0]};
  return {parts[0], parts[1]};
}

std::string quote_identifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string quote_literal(std::string_view text) {
  const bool escaped = text.find('\\') != std::string_view::npos;
  std::string out = escaped ? "E'" : "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string sql_name(const TableName& name) {
  return quote_identifier(name.schema) + "." + quote_identifier(name.table);
}

std::string shown_name(const TableName& name) {
  return shown(name.schema) + "." + shown(name.table);
}

// Within quotes nothing is special in a pattern but the quotes (and $, which is none there).
std::string dump_pattern(const TableName& name) { return sql_name(name); }

std::string with_suffix(const std::string& name, const std::string& suffix) {
  if (name.size() + suffix.size() <= kLongestName) return name + suffix;
  const std::string mark = fmt::format("_{:08x}", crc32c(0, base::as_bytes(name)));
  std::size_t length = kLongestName - std::min(kLongestName, suffix.size() + mark.size());
  const auto is_continuation = [&](std::size_t at) {
    return (static_cast<unsigned char>(name[at]) & 0xc0) == 0x80;
  };
  while (length > 0 && is_continuation(length)) --length;
  return name.substr(0, length) + mark + suffix;
}

}  // namespace holdfast::postgres
