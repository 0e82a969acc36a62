#include "files/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "files/pattern.h"

namespace holdfast::files {
namespace {

std::vector<Pattern> parse_all(const std::vector<std::string>& lines) {
  std::vector<Pattern> patterns;
  patterns.reserve(lines.size());
  for (const std::string& line : lines) {
    if (std::optional<Pattern> pattern = Pattern::parse(line)) {
      patterns.push_back(std::move(*pattern));
    }
  }
  return patterns;
}

// What the last pattern that matches says; nullopt where none does.
std::optional<bool> verdict(const std::vector<Pattern>& patterns, const Candidate& candidate) {
  for (auto pattern = patterns.rbegin(); pattern != patterns.rend(); ++pattern) {
    if (pattern->matches(candidate)) return !pattern->is_negated();
  }
  return std::nullopt;
}

}  // namespace

struct Selection::Impl {
  std::vector<Pattern> include;
  std::vector<Pattern> exclude;

  struct Judgement {
    bool included = false;
    bool excluded = false;
  };
  // Of the two lists, the first is heard at every level, so that what it takes back can be taken
  // once more; what the second says of a directory is final.
  Judgement judge(std::string_view path, bool is_directory) const {
    Judgement judgement{.included = include.empty()};
    Candidate candidate;
    for (std::size_t begin = 0; begin < path.size(); begin = candidate.path.size() + 1) {
      const std::size_t end = std::min(path.find('/', begin), path.size());
      candidate.path = path.substr(0, end);
      candidate.name = path.substr(begin, end - begin);
      candidate.is_directory = end < path.size() || is_directory;
      ++candidate.depth;
      if (verdict(exclude, candidate).value_or(false)) return {.included = false, .excluded = true};
      judgement.included = verdict(include, candidate).value_or(judgement.included);
    }
    return judgement;
  }
};

Selection::Selection(const std::vector<std::string>& include,
                     const std::vector<std::string>& exclude)
    : impl_(std::make_unique<const Impl>(Impl{parse_all(include), parse_all(exclude)})) {
  const auto is_negated = [](const Pattern& pattern) { return pattern.is_negated(); };
  if (!impl_->include.empty() &&
      std::all_of(impl_->include.begin(), impl_->include.end(), is_negated)) {
    throw base::Error(base::ErrorKind::kConfig,
                      fmt::format("the patterns to include take nothing: \"{}\" takes back what "
                                  "none before it took",
                                  include.front()),
                      "what is not wanted goes to the patterns to exclude");
  }
}
Selection::~Selection() = default;
Selection::Selection(Selection&&) noexcept = default;

bool Selection::takes(std::string_view path, bool is_directory) const {
  return impl_->judge(path, is_directory).included;
}

bool Selection::may_take_below(std::string_view directory) const {
  const Impl::Judgement judgement = impl_->judge(directory, true);
  if (judgement.included || judgement.excluded) return judgement.included;
  return std::any_of(impl_->include.begin(), impl_->include.end(), [&](const Pattern& pattern) {
    return !pattern.is_negated() && pattern.may_match_below(directory);
  });
}

bool Selection::takes_everything() const {
  return impl_->include.empty() && impl_->exclude.empty();
}

}  // namespace holdfast::files
