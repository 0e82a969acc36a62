// The keys of a repository that lives in a bucket: s3://bucket/prefix and what goes with it.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "stack/value.h"
#include "storage/s3/s3.h"

namespace holdfast::stack {

struct S3Config {
  storage::s3::Options options;
  storage::s3::CredentialOptions credentials;
};

// From the checked values of a repository whose url begins with s3://. `path` makes a path of the
// configuration absolute. kConfig, naming file, line and column, for what no store can take.
S3Config read_s3(const std::filesystem::path& file, const Value& repository,
                 const std::function<std::string(const std::string&)>& path);

// kConfig for the first key that a directory has no use for: who writes object_lock believes that
// it protects.
void refuse_s3_keys(const std::filesystem::path& file, const Value& repository);

}  // namespace holdfast::stack
