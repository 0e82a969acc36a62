// Names of tables, as users and SQL write them.
#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace holdfast::postgres {

inline constexpr std::size_t kLongestName = 63;  // bytes; NAMEDATALEN - 1

struct TableName {
  std::string schema;
  std::string table;
  auto operator<=>(const TableName&) const = default;
};

// "orders", "shop.orders", "shop."Odd.Name"": as SQL reads them, so what stands in no quotes is
// folded to lower case; without a schema it is public. kUsage for anything else.
TableName parse_table_name(std::string_view text);

std::string quote_identifier(std::string_view name);  // always in quotes
std::string quote_literal(std::string_view text);     // as E'…' where it needs that
std::string sql_name(const TableName& name);          // "shop"."orders"
// For people: in quotes only where parse_table_name needs them.
std::string shown_name(const TableName& name);

// For pg_dump's -t: this table and no other.
std::string dump_pattern(const TableName& name);

// `name` with `suffix`. What would be too long is cut (not in the middle of a character) and told
// apart by a checksum.
std::string with_suffix(const std::string& name, const std::string& suffix);

}  // namespace holdfast::postgres
