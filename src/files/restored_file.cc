#include "files/restored_file.h"

#include <fcntl.h>
#include <fmt/format.h>
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
  const base::ByteView content = content_of(part, source);
  write(part.offset, content);
  return content.size();
}

base::ByteView RestoredFile::content_of(const FilePart& part, ContentSource& source) const {
  if (old_ && part.offset < old_bytes_) {
    const base::ByteView same = source.read_same(old_.get(), part);
    if (!same.empty()) return same;
  }
  return source.read(part.extent);
}

void RestoredFile::write_directly() {
  // By its own descriptor: its name is not known to anybody else yet, but may be moved.
  const std::string path = fmt::format("/proc/self/fd/{}", new_.get());
  direct_ = base::UniqueFd(::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
}

void RestoredFile::write(std::uint64_t offset, base::ByteView bytes) const {
  constexpr std::uint64_t kBlock = base::AlignedBuffer::kAlignment;
  const auto write_to = [&](int fd, base::ByteView part) {
    for (std::uint64_t end = offset + part.size(); offset < end;) {
      const ssize_t now = ::pwrite(fd, part.data(), part.size(), static_cast<off_t>(offset));
      if (now < 0 && errno == EINTR) continue;
      if (now <= 0) tree_.fail(now < 0 ? errno : EIO, "write", entry_.path);
      offset += static_cast<std::uint64_t>(now);
      part = part.subspan(static_cast<std::size_t>(now));
    }
  };
  const std::uint64_t head = (kBlock - offset % kBlock) % kBlock;
  const bool is_aligned =
      reinterpret_cast<std::uintptr_t>(bytes.data()) % kBlock == offset % kBlock;
  if (direct_ && is_aligned && bytes.size() >= head + kBlock) {
    const std::uint64_t blocks = (bytes.size() - head) / kBlock * kBlock;
    write_to(new_.get(), bytes.first(head));
    write_to(direct_.get(), bytes.subspan(head, blocks));
    bytes = bytes.subspan(head + blocks);
  }
  write_to(new_.get(), bytes);
}

void RestoredFile::publish(RightsSetter& rights) {
  rights.set(new_.get(), entry_);
  place_->put_in_place();
}

}  // namespace holdfast::files
