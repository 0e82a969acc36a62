// File systems that show what the kernel knows: their files are made when they are read.
#pragma once

#include <string_view>

namespace holdfast::files {

// The name of the one that the open file stands in; empty for a file system that keeps files.
std::string_view kernel_file_system(int fd);

}  // namespace holdfast::files
