#include "files/entry_rights.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "files/file_reader.h"

namespace holdfast::files {
namespace {

using repository::FileEntry;
using repository::FileType;

constexpr std::size_t kNameBuffer = 64 * 1024;  // for a user or a group with all its members

// What no file gets that has no attributes of its own: the labels that a system gives to each stay.
bool goes_with_content(std::string_view attribute) {
  return attribute.starts_with("user.") || attribute.starts_with("system.posix_acl_");
}

}  // namespace

// An open file; or, where fd is -1, a name in an open directory.
struct RightsSetter::Place {
  int fd = -1;
  int directory = -1;
  const char* name = "";

  int flags() const { return fd >= 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW; }
  int at() const { return fd >= 0 ? fd : directory; }
  int set_times(const timespec (&times)[2]) const {
    return fd >= 0 ? ::futimens(fd, times)
                   : ::utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
  }
  // The kernel can do this by name only where it follows links, so not by this name.
  int set_mode(mode_t mode) const {
    if (fd >= 0) return ::fchmod(fd, mode);
    const base::UniqueFd entry(::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!entry || ::fstat(entry.get(), &status) != 0) return -1;
    if (S_ISLNK(status.st_mode)) return 0;
    return ::chmod(fmt::format("/proc/self/fd/{}", entry.get()).c_str(), mode);
  }
  int set_attribute(const std::string& attribute, const std::string& value) const {
    if (fd >= 0) return ::fsetxattr(fd, attribute.c_str(), value.data(), value.size(), 0);
    const std::string path = fmt::format("/proc/self/fd/{}/{}", directory, name);
    return ::lsetxattr(path.c_str(), attribute.c_str(), value.data(), value.size(), 0);
  }
};

timespec modified_time(const FileEntry& entry) {
  const auto since_epoch = entry.modified.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  return {static_cast<time_t>(seconds.count()),
          static_cast<long>((since_epoch - seconds).count() * 1000 + entry.modified_ns)};
}

void Shortfalls::add_attribute(const std::string& name, int error) {
  auto counts = counts_.lock();
  if (counts->attributes++ == 0) {
    counts->first_attribute = name;
    counts->first_error = error;
  }
}

std::vector<std::string> Shortfalls::as_warnings(Shown shown) {
  const Counts counts = *counts_.lock();
  std::vector<std::string> warnings;
  if (counts.owners > 0) {
    warnings.push_back(
        fmt::format("{} restored entries do not belong to whom they did: there was no right to "
                    "give them away (and so no setuid and setgid)",
                    counts.owners));
  }
  if (counts.attributes > 0) {
    warnings.push_back(fmt::format(
        "{} extended attributes could not be set{}: {}", counts.attributes,
        shown.secret() ? std::string() : fmt::format(", the first is {}", counts.first_attribute),
        std::strerror(counts.first_error)));
  }
  return warnings;
}

RightsSetter::RightsSetter(const TargetTree& tree, Shortfalls& shortfalls)
    : tree_(tree), shortfalls_(shortfalls), is_root_(::geteuid() == 0) {}

void RightsSetter::set(int fd, const FileEntry& entry) { set(Place{.fd = fd}, entry); }

void RightsSetter::set(int directory, const std::string& name, const FileEntry& entry) {
  set(Place{.directory = directory, .name = name.c_str()}, entry);
}

// The owner first, since a change of it takes setuid and capabilities away; the mode after the
// attributes, which may need the right to write.
void RightsSetter::set(const Place& place, const FileEntry& entry) {
  struct stat now {};
  if (::fstatat(place.at(), place.name, &now, place.flags()) != 0) {
    tree_.fail(errno, "look at", entry.path);
  }
  const Given given = set_owner(place, now, entry);
  const bool touched = set_attributes(place, entry) || given.touched;
  if (entry.type != FileType::kSymlink && (touched || (now.st_mode & 07777) != given.mode) &&
      place.set_mode(given.mode) != 0) {
    tree_.fail(errno, "set the rights of", entry.path);
  }
  const timespec modified = modified_time(entry);
  if (now.st_mtim.tv_sec == modified.tv_sec && now.st_mtim.tv_nsec == modified.tv_nsec) return;
  if (place.set_times({{0, UTIME_OMIT}, modified}) != 0) {
    tree_.fail(errno, "set the time of", entry.path);
  }
}

RightsSetter::Given RightsSetter::set_owner(const Place& place, const struct stat& now,
                                            const FileEntry& entry) {
  const Owner owner = owner_of(entry);
  bool right_user = now.st_uid == owner.user;
  bool right_group = now.st_gid == owner.group;
  Given given{.mode = entry.mode & 07777};
  // Who is not root can give to groups that he is in.
  if (!right_group || (!right_user && is_root_)) {
    const uid_t user = is_root_ ? owner.user : static_cast<uid_t>(-1);
    if (::fchownat(place.at(), place.name, user, owner.group, place.flags()) == 0) {
      right_group = true;
      right_user = right_user || is_root_;
      given.touched = true;
    } else if (errno != EPERM && errno != EINVAL && errno != ENOTSUP) {
      tree_.fail(errno, "give its owner to", entry.path);
    }
  }
  if (!right_user || !right_group) shortfalls_.add_owner();
  if (entry.type != FileType::kDirectory) {
    if (!right_user) given.mode &= ~static_cast<mode_t>(S_ISUID);
    if (!right_group) given.mode &= ~static_cast<mode_t>(S_ISGID);
  }
  return given;
}

bool RightsSetter::set_attributes(const Place& place, const FileEntry& entry) {
  bool touched = false;
  std::vector<repository::ExtendedAttribute> there;
  if (place.fd >= 0) {
    std::string problem;
    there = read_xattrs(place.fd, problem);
  }
  for (const auto& xattr : there) {
    const auto wanted = std::find_if(entry.xattrs.begin(), entry.xattrs.end(),
                                     [&](const auto& x) { return x.name == xattr.name; });
    if (wanted != entry.xattrs.end() || !goes_with_content(xattr.name)) continue;
    touched = true;
    if (::fremovexattr(place.fd, xattr.name.c_str()) != 0 && errno != ENODATA) {
      shortfalls_.add_attribute(xattr.name, errno);
    }
  }
  for (const auto& xattr : entry.xattrs) {
    if (std::find(there.begin(), there.end(), xattr) != there.end()) continue;
    touched = true;
    if (place.set_attribute(xattr.name, xattr.value) != 0) {
      shortfalls_.add_attribute(xattr.name, errno);
    }
  }
  return touched;
}

RightsSetter::Owner RightsSetter::owner_of(const FileEntry& entry) {
  const auto user = users_.try_emplace(entry.owner);
  if (user.second && !entry.owner.empty()) {
    passwd record{};
    passwd* found = nullptr;
    std::vector<char> buffer(kNameBuffer);
    ::getpwnam_r(entry.owner.c_str(), &record, buffer.data(), buffer.size(), &found);
    if (found != nullptr) user.first->second = found->pw_uid;
  }
  const auto group = groups_.try_emplace(entry.group);
  if (group.second && !entry.group.empty()) {
    ::group record{};
    ::group* found = nullptr;
    std::vector<char> buffer(kNameBuffer);
    ::getgrnam_r(entry.group.c_str(), &record, buffer.data(), buffer.size(), &found);
    if (found != nullptr) group.first->second = found->gr_gid;
  }
  return {user.first->second.value_or(entry.uid), group.first->second.value_or(entry.gid)};
}

}  // namespace holdfast::files
