// The directory that is restored to. Nothing in it is ever reached through a symbolic link,
// whatever stands there or happens to it meanwhile.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/concurrency.h"
#include "base/file.h"
#include "crypto/kdf.h"
#include "files/restore_plan.h"

namespace holdfast::files {

// An open directory, for the *at() calls alone (O_PATH); kept open by whoever has it.
using Directory = std::shared_ptr<const base::UniqueFd>;

// The last part of a path.
std::string name_of(std::string_view path);

// Opens the directories below a root. One per thread: it keeps the last one.
class DirectoryCursor {
 public:
  enum class Mounts { kCross, kStay };
  explicit DirectoryCursor(int root, Mounts mounts = Mounts::kCross)
      : root_(root), mounts_(mounts) {}

  // Null, and errno, where it is not there or a link is on the way (ELOOP or ENOTDIR), or a mount
  // point (EXDEV) with kStay. Empty: the root.
  Directory find(std::string_view directory);

 private:
  const int root_;
  const Mounts mounts_;
  std::string last_path_;
  Directory last_;
};

// Thread-safe but for make().
class TargetTree {
 public:
  // `delta`: what stands in the way of something new is replaced by it.
  TargetTree(std::filesystem::path to, bool delta, Shown shown, crypto::Random& random)
      : to_(std::move(to)), delta_(delta), shown_(shown), random_(random) {}

  // kRefused where `to` is no directory, or not empty without `delta` (but for lost+found).
  void require_usable() const;
  // Opens it; makes it first, with its parents, where it is not there.
  void make(mode_t mode);

  const std::filesystem::path& path() const { return to_; }
  bool delta() const { return delta_; }
  bool was_made() const { return made_; }
  int root() const { return root_.get(); }
  Shown shown() const { return shown_; }

  // The directory in which the entry stands; throws.
  Directory parent_of(DirectoryCursor& cursor, std::string_view path) const;
  // A name that nothing has yet, as far as anyone can know.
  std::string temporary_name() const;
  // Gives what stands under a temporary name its own. What had that name is gone then, or, if it or
  // the new one is a directory, set aside.
  void put_in_place(const Directory& directory, const std::string& temporary, std::string_view path,
                    bool is_directory);

  struct SetAside {
    std::string path;  // where it was
    std::string now;   // where it is
    bool is_directory = false;
  };
  std::vector<SetAside> set_aside();

  [[noreturn]] void fail(int error, std::string_view verb, std::string_view path) const;

 private:
  void exchange(const Directory& directory, const std::string& temporary, std::string_view path);

  const std::filesystem::path to_;
  const bool delta_;
  const Shown shown_;
  crypto::Random& random_;
  bool made_ = false;
  base::UniqueFd root_;
  base::Guarded<std::vector<SetAside>> set_aside_;
};

// Gives the owner of a directory (O_PATH) the right to use it, where he lacks it. False where
// nothing was to be done, or could be.
bool make_accessible(int directory);

// Whether a run that was killed may have left a file of this name.
bool is_temporary_name(std::string_view name);

// Something new under a temporary name (with delta) or under its own. Removed again unless it was
// put in place.
class NewEntry {
 public:
  NewEntry(TargetTree& tree, Directory directory, const repository::FileEntry& entry);
  NewEntry(NewEntry&& other) noexcept;
  NewEntry& operator=(NewEntry&&) = delete;
  ~NewEntry();

  // Calls create_it(directory, name), which returns what a system call does.
  template <typename Create>
  int create(Create&& create_it) {
    int result = create_it(directory_->get(), name_.c_str());
    while (result < 0 && take_another_name()) {
      result = create_it(directory_->get(), name_.c_str());
    }
    there_ = true;
    return result;
  }
  void put_in_place();
  const std::string& name() const { return name_; }

 private:
  // True where only the name was taken, and it need not be this one; throws for all else.
  bool take_another_name();

  TargetTree& tree_;
  const Directory directory_;
  const repository::FileEntry& entry_;
  std::string name_;
  bool there_ = false;
};

// The file systems that a restore touches, to be written out at its end.
class FileSystems {
 public:
  // `directory` as it was opened before anything was written, so that no failure is missed.
  void add(int directory, dev_t device);
  void write_out() const;  // throws

 private:
  std::map<dev_t, base::UniqueFd> directories_;
};

}  // namespace holdfast::files
