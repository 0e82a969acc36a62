#include "files/restored_file.h"

#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace holdfast::files {

RestoredFile::RestoredFile(TargetTree& tree, const repository::FileEntry& entry,
                           DirectoryCursor& cursor, nlink_t own_links)
    : tree_(tree), entry_(entry), directory_(tree.parent_of(cursor, entry.path)) {
  if (tree.delta()) find_old(own_links);
}

// One that cannot be read is as good as none.
void RestoredFile::find_old(nlink_t own_links) {
  const std::string name = name_of(entry_.path);
  struct stat status {};
  // Looked at before it is opened: to open a device may do something.
  if (::fstatat(directory_->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(status.st_mode)) {
    return;
  }
  old_ = base::UniqueFd(
      ::openat(directory_->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!old_) return;
  if (::fstat(old_.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    old_.reset();
    return;
  }
  old_bytes_ = static_cast<std::uint64_t>(status.st_size);
  // Who may not change its rights makes a file of his own.
  const bool is_ours = ::geteuid() == 0 || ::geteuid() == status.st_uid;
  may_be_same_ = is_ours && old_bytes_ == entry_.size_bytes && status.st_nlink <= own_links;
}

bool RestoredFile::is_same(const FilePart& part, ContentSource& source) const {
  return part.extent.chunk.is_zero_range() ? source.is_zero(old_.get(), part)
                                           : !source.read_same(old_.get(), part).empty();
}

void RestoredFile::create() {
  place_.emplace(tree_, directory_, entry_);
  new_ = base::UniqueFd(place_->create([](int directory, const char* name) {
    return ::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  }));
  // Ranges of zeros are holes. Most files are small: one write gives them their size.
  const bool is_one_write =
      entry_.size_bytes == 0 ||
      (entry_.extents.size() == 1 && !entry_.extents.front().chunk.is_zero_range());
  if (!is_one_write && ::ftruncate(new_.get(), static_cast<off_t>(entry_.size_bytes)) != 0) {
    tree_.fail(errno, "give its size to", entry_.path);
  }
}

std::uint64_t RestoredFile::fill(const FilePart& part, ContentSource& source) const {
  if (part.extent.chunk.is_zero_range()) return 0;
  base::ByteView content;
  if (old_ && part.offset < old_bytes_) content = source.read_same(old_.get(), part);
  if (content.empty()) content = source.read(part.extent);
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t now = ::pwrite(new_.get(), content.data() + done, content.size() - done,
                                 static_cast<off_t>(part.offset + done));
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) tree_.fail(now < 0 ? errno : EIO, "write", entry_.path);
    done += static_cast<std::size_t>(now);
  }
  return content.size();
}

void RestoredFile::begin_writing_out(std::uint64_t offset, std::uint64_t length) const {
  // A hint: what it does not do, the end of the restore does, and tells of errors.
  ::sync_file_range(new_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                    SYNC_FILE_RANGE_WRITE);
}

void RestoredFile::publish(RightsSetter& rights) {
  rights.set(new_.get(), entry_);
  place_->put_in_place();
}

}  // namespace holdfast::files
