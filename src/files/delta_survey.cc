#include "files/delta_survey.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace holdfast::files {
namespace {

using repository::FileEntry;
using repository::FileType;

constexpr std::string_view kLostAndFound = "lost+found";  // of the file system, in its root

bool is_directory(const FileEntry& entry) { return entry.type == FileType::kDirectory; }

}  // namespace

DeltaSurvey::DeltaSurvey(const TargetTree& tree, const RestorePlan& plan, bool may_remove,
                         const std::stop_token& stop)
    : tree_(tree),
      plan_(plan),
      may_remove_(may_remove && plan.details.has_value()),
      same_mount_(tree.root(), DirectoryCursor::Mounts::kStay) {
  if (may_remove_) {
    patterns_.emplace(plan.details->include, plan.details->exclude);
    for (const Problem& problem : plan.details->lost) lost_.insert(problem.path);
  }
  const Tree there = list_tree(tree.path(), Selection({}, {}), stop);
  for (const FileEntry& entry : there.entries) look_at(entry);
  refuse_hidden(there.left_out);
  refuse_hidden(there.unreadable);
}

void DeltaSurvey::look_at(const FileEntry& there) {
  if (there.path == kLostAndFound) return;
  const std::string parent(directory_of(there.path));
  if (parent == kLostAndFound) return;
  if (const auto going = going_.find(parent); !parent.empty() && going != going_.end()) {
    look_below(there, going->second);
    return;
  }
  const FileEntry* planned = find_entry(plan_.entries, there.path);
  if (planned == nullptr && is_temporary_name(name_of(there.path))) {
    more_.push_back({there.path, is_directory(there), false});
    if (is_directory(there)) going_[there.path] = there.path;
  } else if (planned == nullptr) {
    if (is_ours_to_remove(there)) more_.push_back({there.path, is_directory(there), true});
  } else if (is_directory(there) && !is_directory(*planned)) {
    going_[there.path] = there.path;
    in_the_way_[there.path];
    require_no_mount(there.path);
  } else if (!is_directory(there) && is_directory(*planned) && planned->on_the_way) {
    refuse(there.path, there.path, "it is no directory, and the backup needs one there");
  }
}

void DeltaSurvey::look_below(const FileEntry& there, const std::string& top) {
  if (is_directory(there)) going_[there.path] = top;
  const auto in_the_way = in_the_way_.find(top);
  if (in_the_way == in_the_way_.end()) {
    more_.push_back({there.path, is_directory(there), false});
    return;
  }
  if (!is_ours_to_remove(there)) {
    refuse(top, there.path, "it stands where the backup has a file, and is not to be removed");
  }
  if (is_directory(there)) require_no_mount(there.path);
  in_the_way->second.push_back({there.path, is_directory(there), true});
}

void DeltaSurvey::require_no_mount(const std::string& directory) {
  if (!same_mount_.find(directory) && errno == EXDEV) {
    refuse(directory, directory, "a file system is mounted where the backup has a file");
  }
}

// What a listing does not give must not go unseen.
void DeltaSurvey::refuse_hidden(const std::vector<Problem>& problems) const {
  for (const Problem& problem : problems) {
    for (std::string_view at = problem.path; !at.empty(); at = directory_of(at)) {
      const auto going = going_.find(std::string(at));
      if (going == going_.end() || !in_the_way_.contains(going->second)) continue;
      refuse(going->second, problem.path, "it stands where the backup has a file");
    }
  }
}

bool DeltaSurvey::is_ours_to_remove(const FileEntry& there) const {
  if (!may_remove_ || !patterns_->takes(there.path, is_directory(there))) return false;
  if (lost_.empty()) return true;
  for (std::string_view at = there.path; !at.empty(); at = directory_of(at)) {
    if (lost_.contains(at)) return false;
  }
  return !lost_.contains("");
}

void DeltaSurvey::refuse(const std::string& top, const std::string& path,
                         std::string_view why) const {
  throw base::Error(base::ErrorKind::kRefused,
                    fmt::format("{} is in the way: {}", tree_.shown()(path), why),
                    tree_.shown().secret() ? "Move it away." : fmt::format("Move {} away.", top));
}

DeltaSurvey::Removed DeltaSurvey::remove(const std::vector<TargetTree::SetAside>& set_aside,
                                         const std::stop_token& stop) const {
  std::vector<Item> items = more_;
  for (const TargetTree::SetAside& aside : set_aside) {
    items.push_back({aside.now, aside.is_directory, false});
    const auto below = in_the_way_.find(aside.path);
    if (below == in_the_way_.end()) continue;
    for (const Item& item : below->second) {
      items.push_back({aside.now + item.path.substr(aside.path.size()), item.is_directory, true});
    }
  }
  Removed removed;
  DirectoryCursor cursor(tree_.root(), DirectoryCursor::Mounts::kStay);
  // What is in a directory stands behind it.
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    base::throw_if_stopped(stop);
    remove_one(*item, cursor, removed);
  }
  return removed;
}

void DeltaSurvey::remove_one(const Item& item, DirectoryCursor& cursor, Removed& removed) const {
  const Directory parent = cursor.find(directory_of(item.path));
  const std::string name = name_of(item.path);
  const int flags = item.is_directory ? AT_REMOVEDIR : 0;
  int error = parent ? 0 : errno;
  if (parent && ::unlinkat(parent->get(), name.c_str(), flags) != 0) error = errno;
  if (error == EACCES && parent && make_accessible(parent->get())) {
    error = ::unlinkat(parent->get(), name.c_str(), flags) == 0 ? 0 : errno;
  }
  switch (error) {
    case 0:
      removed.any = true;
      if (item.counted) ++removed.count;
      return;
    case ENOENT:
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
      return;  // it has been changed since
    case EEXIST:
    case ENOTEMPTY:
      return;  // it holds what is to stay
    case EBUSY:
    case EXDEV:
      if (!tree_.shown().secret()) {
        removed.notes.push_back(fmt::format("{} stays: a file system is mounted there", item.path));
      }
      return;
    default:
      tree_.fail(error, "remove", item.path);
  }
}

}  // namespace holdfast::files
