// What a restore over existing files finds there, and what of it has to go.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "files/selection.h"
#include "files/target_tree.h"
#include "files/tree.h"

namespace holdfast::files {

class DeltaSurvey {
 public:
  // Looks at all that is there. `may_remove`: what the backup's patterns mean and it does not hold.
  // kRefused where something stands in the way of the backup that must not go.
  DeltaSurvey(const TargetTree& tree, const RestorePlan& plan, bool may_remove,
              const std::stop_token& stop);

  struct Removed {
    std::uint64_t count = 0;  // that did not belong
    bool any = false;
    std::vector<std::string> notes;     // what stays, as it should
    std::vector<std::string> warnings;  // what could not be removed
  };
  // Of what it has seen, and of what has been set aside since; nothing else. Never across a mount
  // point. What is no longer as it was stays.
  Removed remove(const std::vector<TargetTree::SetAside>& set_aside,
                 const std::stop_token& stop) const;

 private:
  struct Item {
    std::string path;
    bool is_directory = false;
    bool counted = false;
  };

  void look_at(const repository::FileEntry& there);
  void look_below(const repository::FileEntry& there, const std::string& top);
  void require_no_mount(const std::string& directory);
  void refuse_hidden(const std::vector<Problem>& problems) const;
  bool is_ours_to_remove(const repository::FileEntry& there) const;
  [[noreturn]] void refuse(const std::string& top, const std::string& path,
                           std::string_view why) const;
  void remove_one(const Item& item, DirectoryCursor& cursor, Removed& removed) const;

  const TargetTree& tree_;
  const RestorePlan& plan_;
  const bool may_remove_;
  std::optional<Selection> patterns_;
  std::set<std::string, std::less<>> lost_;  // the backup could not read them
  DirectoryCursor same_mount_;
  // Directories that go with all that is below them, each by the topmost one: left by a run that
  // was killed, or in the way of what is none.
  std::unordered_map<std::string, std::string> going_;
  std::map<std::string, std::vector<Item>> in_the_way_;  // what is below each topmost one
  std::vector<Item> more_;                               // than the backup holds
};

}  // namespace holdfast::files
