#include "postgres/backup_label.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

constexpr std::size_t kMaxTextSize = 64 << 10;

[[noreturn]] void fail(std::string_view problem) {
  throw base::Error(base::ErrorKind::kFailed,
                    fmt::format("the server's backup label cannot be read: {}", problem));
}

// The rest of the first line that begins with `name`. The user's own text comes last but one, so it
// cannot stand before the lines that matter.
std::optional<std::string_view> find_value(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(name)) {
      return line.substr(name.size());
    }
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return std::nullopt;
}

std::string_view value_of(std::string_view text, std::string_view name) {
  const auto value = find_value(text, name);
  if (!value) {
    fail(fmt::format("there is no line \"{}\"", name));
  }
  return *value;
}

Lsn parse_position(std::string_view text) {
  const auto lsn = parse_lsn(text);
  if (!lsn) {
    fail(fmt::format("\"{}\" is not a WAL position", text));
  }
  return *lsn;
}

// "0/2000028 (file 000000010000000000000002)"
void parse_start(std::string_view value, BackupLabel& label) {
  constexpr std::string_view kBetween = " (file ";
  const std::size_t between = value.find(kBetween);
  if (between == std::string_view::npos || value.back() != ')') {
    fail("the start position names no file");
  }
  label.start = parse_position(value.substr(0, between));
  value.remove_prefix(between + kBetween.size());
  value.remove_suffix(1);
  const auto name = parse_wal_file_name(value);
  if (!name || name->kind != WalFileKind::kSegment) {
    fail(fmt::format("\"{}\" is not the name of a WAL segment", value));
  }
  label.start_file = name->text;
}

}  // namespace

BackupLabel parse_backup_label(std::string_view text) {
  if (text.size() > kMaxTextSize) {
    fail("it is too large");
  }
  BackupLabel label;
  parse_start(value_of(text, "START WAL LOCATION: "), label);
  label.checkpoint = parse_position(value_of(text, "CHECKPOINT LOCATION: "));
  label.label = value_of(text, "LABEL: ");
  label.from_standby = find_value(text, "BACKUP FROM: ") == "standby";

  const std::string_view timeline = value_of(text, "START TIMELINE: ");
  const char* end = timeline.data() + timeline.size();
  const auto [rest, error] = std::from_chars(timeline.data(), end, label.timeline);
  if (error != std::errc{} || rest != end || label.timeline == 0) {
    fail(fmt::format("\"{}\" is not a timeline", timeline));
  }
  return label;
}

}  // namespace holdfast::postgres
