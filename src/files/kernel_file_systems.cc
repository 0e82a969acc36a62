#include "files/kernel_file_systems.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace holdfast::files {
namespace {

struct Known {
  std::uint32_t magic;
  std::string_view name;
};
// Those without a constant have none in the kernel's headers; statfs(2) lists most of them.
constexpr std::array<Known, 22> kKnown{{{PROC_SUPER_MAGIC, "proc"},
                                        {SYSFS_MAGIC, "sysfs"},
                                        {DEVPTS_SUPER_MAGIC, "devpts"},
                                        {CGROUP_SUPER_MAGIC, "cgroup"},
                                        {CGROUP2_SUPER_MAGIC, "cgroup2"},
                                        {DEBUGFS_MAGIC, "debugfs"},
                                        {TRACEFS_MAGIC, "tracefs"},
                                        {SECURITYFS_MAGIC, "securityfs"},
                                        {SELINUX_MAGIC, "selinuxfs"},
                                        {SMACK_MAGIC, "smackfs"},
                                        {PSTOREFS_MAGIC, "pstore"},
                                        {EFIVARFS_MAGIC, "efivarfs"},
                                        {BPF_FS_MAGIC, "bpf"},
                                        {BINFMTFS_MAGIC, "binfmt_misc"},
                                        {NSFS_MAGIC, "nsfs"},
                                        {RDTGROUP_SUPER_MAGIC, "resctrl"},
                                        {HUGETLBFS_MAGIC, "hugetlbfs"},
                                        {0x19800202, "mqueue"},
                                        {0x62656570, "configfs"},
                                        {0x65735543, "fusectl"},
                                        {0x67596969, "rpc_pipefs"},
                                        {0x6e667364, "nfsd"}}};

}  // namespace

std::string_view kernel_file_system(int fd) {
  struct statfs status {};
  if (::fstatfs(fd, &status) != 0) return {};
  const auto found = std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& known) {
    return known.magic == static_cast<std::uint32_t>(status.f_type);
  });
  return found == kKnown.end() ? std::string_view() : found->name;
}

}  // namespace holdfast::files
