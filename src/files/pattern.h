// One pattern of .gitignore, made ready to be compared with many paths.
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::files {

// A path below the root that stands for a file or a directory, and what of it patterns ask for.
struct Candidate {
  std::string_view path;
  std::string_view name;  // its last part
  std::size_t depth = 0;  // parts in all
  bool is_directory = false;
};

// Removes the first part of a path (and its '/') and gives it.
std::string_view take_part(std::string_view& path);

// Unchangeable, and so thread-safe. Comparing allocates nothing, and takes no more than (length of
// the pattern) × (length of the path) steps.
class Pattern {
 public:
  // Nullopt for a comment. kConfig, quoting the line, for what cannot be right.
  static std::optional<Pattern> parse(std::string_view line);

  bool is_negated() const { return negated_; }
  // The candidate itself; what stands below a directory that matches is the caller's business.
  bool matches(const Candidate& candidate) const;
  // False only if nothing below that directory (empty: the root) can match.
  bool may_match_below(std::string_view directory) const;

 private:
  friend class PatternParser;

  // One byte of a name, or any number of any.
  struct Step {
    bool any_number = false;
    std::bitset<256> bytes;
  };
  // What one part of a path is compared with; nearly all are of the first two kinds.
  struct Part {
    enum class Kind { kLiteral, kSuffix, kSteps, kAnyDepth };
    Kind kind = Kind::kSuffix;
    std::string text = {};  // of the first two; "*" is any name that ends with nothing
    std::vector<Step> steps = {};
    bool matches(std::string_view name) const;
  };
  bool matches_parts(std::string_view path) const;

  bool negated_ = false;
  bool directories_only_ = false;
  bool anchored_ = false;   // at the root; otherwise one part, for the name at any level
  bool any_depth_ = false;  // has a "**": at its end any number of parts but none
  std::vector<Part> parts_;
};

}  // namespace holdfast::files
