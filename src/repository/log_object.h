// One piece of a continuous log in one object: WAL segments now, Redis' stream later. "Log objects"
// in docs/format.md. Sections tell about the content under the metadata key.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "repository/repository.h"

namespace holdfast::repository {

struct LogSection {
  std::string name;
  base::Bytes content;
};

struct LogInfo {
  std::uint64_t length_bytes = 0;  // plain
  std::array<std::uint8_t, 32> digest{};
  base::Time archived;
  base::Bytes inline_content;  // for small logs that a write-only host must read; empty: in frames
  std::vector<LogSection> sections;

  const base::Bytes* section(std::string_view name) const;
};

enum class LogPut { kCreated, kSame, kDifferent };

// Compresses and seals on up to `threads` threads. kSame: the name holds the same content already;
// kDifferent: another content; nothing was written in either case. An object there that is damaged
// is kDamaged.
LogPut put_log(const Context& context, std::string_view name, base::ByteView data,
               std::vector<LogSection> sections, int threads);
// The content goes into the metadata: at most 1 MiB.
LogPut put_inline_log(const Context& context, std::string_view name, base::ByteView content,
                      std::vector<LogSection> sections);

// Without the data. Nullopt: not there.
std::optional<LogInfo> stat_log(const Context& context, std::string_view name);

// kDigest also compares the content with the digest that was made of it before it was compressed:
// for verify. Every byte is authenticated in either case.
enum class LogCheck { kAuthentic, kDigest };

// The whole content, authenticated, in order, in pieces; nothing is said of it until the last piece
// has been authenticated: the caller publishes only after return. Nullopt: not there. kRefused,
// unless the content is inline, with a write-only credential.
std::optional<LogInfo> read_log(const Context& context, std::string_view name,
                                const std::function<void(base::ByteView)>& piece,
                                LogCheck check = LogCheck::kAuthentic);

}  // namespace holdfast::repository
