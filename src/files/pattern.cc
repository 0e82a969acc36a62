#include "files/pattern.h"

#include <algorithm>

namespace holdfast::files {

std::string_view take_part(std::string_view& path) {
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string_view part = path.substr(0, end);
  path.remove_prefix(std::min(end + 1, path.size()));
  return part;
}

// Where a step fails, the last "*" before it takes one byte more; those before that one need not be
// asked again.
bool Pattern::Part::matches(std::string_view name) const {
  if (kind == Kind::kLiteral) return name == text;
  if (kind == Kind::kSuffix) return name.ends_with(text);
  std::size_t step = 0;
  std::size_t after_star = 0;  // 0: there was none
  std::size_t retry = 0;
  for (std::size_t at = 0; at < name.size();) {
    if (step < steps.size() && steps[step].any_number) {
      after_star = ++step;
      retry = at;
    } else if (step < steps.size() && steps[step].bytes[static_cast<std::uint8_t>(name[at])]) {
      ++step;
      ++at;
    } else {
      if (after_star == 0) return false;
      at = ++retry;
      step = after_star;
    }
  }
  return std::all_of(steps.begin() + static_cast<std::ptrdiff_t>(step), steps.end(),
                     [](const Step& left) { return left.any_number; });
}

// As in a name, with parts for bytes and "**" for "*"; but where the path ends, no "**" is skipped,
// so that "a/**" means what is in it, and not the directory.
bool Pattern::matches_parts(std::string_view path) const {
  std::size_t at = 0;
  std::size_t after_any = 0;  // 0: there was none
  std::string_view retry;
  while (!path.empty()) {
    if (at < parts_.size() && parts_[at].kind == Part::Kind::kAnyDepth) {
      after_any = ++at;
      retry = path;
      continue;
    }
    std::string_view rest = path;
    if (at < parts_.size() && parts_[at].matches(take_part(rest))) {
      ++at;
      path = rest;
    } else {
      if (after_any == 0) return false;
      take_part(retry);
      path = retry;
      at = after_any;
    }
  }
  return at == parts_.size();
}

bool Pattern::matches(const Candidate& candidate) const {
  if (directories_only_ && !candidate.is_directory) return false;
  if (!anchored_) return parts_.front().matches(candidate.name);
  if (!any_depth_ && candidate.depth != parts_.size()) return false;
  return matches_parts(candidate.path);
}

bool Pattern::may_match_below(std::string_view directory) const {
  if (!anchored_) return true;
  for (const Part& part : parts_) {
    if (directory.empty() || part.kind == Part::Kind::kAnyDepth) return true;
    if (!part.matches(take_part(directory))) return false;
  }
  return false;  // it means the directory, or what is above it
}

}  // namespace holdfast::files
