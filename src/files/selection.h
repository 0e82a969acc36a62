// Which files below a root are meant: patterns as in .gitignore (its manual page has the rules).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::files {

// What is included (everything where the list is empty) and not excluded. A pattern that matches a
// directory means all below it; of several that match, the last one counts; "!" takes back.
// Unchangeable, and so thread-safe.
class Selection {
 public:
  // kConfig, quoting the pattern, for one that cannot be right (it is empty, leaves the root by
  // "..", has a "[" without an end).
  Selection(const std::vector<std::string>& include, const std::vector<std::string>& exclude);
  ~Selection();
  Selection(Selection&&) noexcept;

  // `path` is relative to the root, '/'-separated.
  bool takes(std::string_view path, bool is_directory) const;
  // Whether anything below that directory may be taken: no use in looking into another. Never
  // false where takes() would be true for something below.
  bool may_take_below(std::string_view directory) const;
  bool takes_everything() const;  // no patterns at all

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace holdfast::files
