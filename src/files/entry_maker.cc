#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "files/tree.h"

namespace holdfast::files {
namespace {

using repository::FileEntry;
using repository::FileType;

constexpr mode_t kModeBits = 07777;
constexpr std::int64_t kNanosecondsInSecond = 1'000'000'000;
// Years 1 to 9999, as in a file table. Some file systems keep any 64 bits.
constexpr std::int64_t kEarliest = -62'135'596'800;
constexpr std::int64_t kLatest = 253'402'300'799;
constexpr std::size_t kMostForName = 1024 * 1024;

// `look_up` is getpwuid_r or getgrgid_r. Empty where nobody has the id.
template <typename Record, typename LookUp>
std::string name_of_id(std::uint32_t id, LookUp look_up, char* Record::*name) {
  std::string buffer(4096, '\0');
  while (true) {
    Record record{};
    Record* found = nullptr;
    const int result = look_up(id, &record, buffer.data(), buffer.size(), &found);
    if (result == ERANGE && buffer.size() < kMostForName) {
      buffer.resize(2 * buffer.size());
      continue;
    }
    return result == 0 && found != nullptr ? std::string(found->*name) : std::string();
  }
}

FileType type_of(mode_t mode) {
  if (S_ISDIR(mode)) return FileType::kDirectory;
  if (S_ISLNK(mode)) return FileType::kSymlink;
  if (S_ISFIFO(mode)) return FileType::kFifo;
  return FileType::kFile;
}

}  // namespace

struct EntryMaker::Names {
  std::unordered_map<std::uint32_t, std::string> users;
  std::unordered_map<std::uint32_t, std::string> groups;

  const std::string& user(std::uint32_t id) {
    const auto [known, is_new] = users.try_emplace(id);
    if (is_new) known->second = name_of_id(id, ::getpwuid_r, &passwd::pw_name);
    return known->second;
  }
  const std::string& group(std::uint32_t id) {
    const auto [known, is_new] = groups.try_emplace(id);
    if (is_new) known->second = name_of_id(id, ::getgrgid_r, &::group::gr_name);
    return known->second;
  }
};

EntryMaker::EntryMaker() : names_(std::make_unique<Names>()) {}
EntryMaker::~EntryMaker() = default;

FileEntry EntryMaker::make(std::string path, const struct stat& status) {
  FileEntry entry;
  entry.path = std::move(path);
  entry.type = type_of(status.st_mode);
  entry.mode = status.st_mode & kModeBits;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.owner = names_->user(status.st_uid);
  entry.group = names_->group(status.st_gid);
  // Before 1970 too, nanoseconds count forward from the second.
  const std::int64_t second = std::clamp<std::int64_t>(status.st_mtim.tv_sec, kEarliest, kLatest);
  entry.modified = base::Time(std::chrono::seconds(second) +
                              std::chrono::microseconds(status.st_mtim.tv_nsec / 1000));
  entry.modified_ns = static_cast<std::uint32_t>(status.st_mtim.tv_nsec % 1000);
  if (entry.type == FileType::kFile) {
    entry.size_bytes = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0));
  }
  // Unsigned: after the year 2262 it wraps, and still tells two moments apart.
  entry.sighting = repository::Sighting{
      .inode = status.st_ino,
      .changed_ns = static_cast<std::int64_t>(static_cast<std::uint64_t>(status.st_ctim.tv_sec) *
                                                  kNanosecondsInSecond +
                                              static_cast<std::uint64_t>(status.st_ctim.tv_nsec))};
  return entry;
}

}  // namespace holdfast::files
