// Opens what is below a directory, and nothing else: no link is followed on the way, and ".." leads
// nowhere, whatever happens to the tree meanwhile.
#pragma once

#include <string_view>

#include "base/file.h"

namespace holdfast::files {

// The directory `path` below `root` (empty: the root itself), for the *at() calls alone (O_PATH).
// Invalid, and errno, where there is none: ELOOP or ENOTDIR for a link.
base::UniqueFd open_directory_beneath(int root, std::string_view path);
// The same for kernels before 5.6, which cannot do it in one call.
base::UniqueFd walk_to_directory(int root, std::string_view path);

}  // namespace holdfast::files
