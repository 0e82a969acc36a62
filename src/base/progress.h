// How long work tells what it has done. The library reports; it never prints.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::base {

// All methods are thread-safe and cheap.
class Progress {
 public:
  virtual ~Progress() = default;
  // A new phase: "reading", "waiting for WAL", "restoring". total_bytes 0: not known.
  virtual void phase(std::string_view name, std::uint64_t total_bytes) = 0;
  virtual void advance(std::uint64_t bytes) = 0;
  virtual void note(std::string_view line) = 0;     // something worth a line
  virtual void warning(std::string_view line) = 0;  // something the user must look at
};

class NoProgress final : public Progress {
 public:
  void phase(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t) override {}
  void note(std::string_view) override {}
  void warning(std::string_view) override {}
};

}  // namespace holdfast::base
