#include "postgres/restore_target.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "postgres/running_server.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::string_view kElsewhere =
    "give the tablespace another place with --tablespace OLD=NEW";

bool is_empty_or_missing(const fs::path& directory) {
  std::error_code problem;
  if (!fs::exists(directory, problem)) return true;
  if (!fs::is_directory(directory, problem)) return false;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.path().filename() != "lost+found") return false;
  }
  return true;
}

void require_empty(const fs::path& directory, std::string_view hint) {
  if (fs::exists(directory / "postmaster.pid")) {
    throw Error(ErrorKind::kRefused,
                fmt::format("{} is in use: it holds a postmaster.pid", directory.string()),
                "stop the server, or restore into another directory");
  }
  if (!is_empty_or_missing(directory)) {
    throw Error(ErrorKind::kRefused, fmt::format("{} is not empty", directory.string()),
                std::string(hint));
  }
}

// A database's directory has a PG_VERSION too, but none of these.
bool holds_cluster(const fs::path& directory) {
  constexpr std::array<std::string_view, 5> kParts = {"base", "global", "pg_wal", "pg_xact",
                                                      "pg_tblspc"};
  return fs::exists(directory / "PG_VERSION") &&
         std::any_of(kParts.begin(), kParts.end(),
                     [&](std::string_view part) { return fs::exists(directory / part); });
}

bool lies_within(const fs::path& inner, const fs::path& outer) {
  const fs::path relative =
      fs::weakly_canonical(inner).lexically_relative(fs::weakly_canonical(outer));
  return !relative.empty() && *relative.begin() != "..";
}

void require_replaceable_tablespace(const RestorePlaces& places, const std::string& link,
                                    const fs::path& location) {
  if (lies_within(location, places.data_directory)) {
    throw Error(ErrorKind::kRefused,
                fmt::format("the tablespace directory {} lies within {}", location.string(),
                            places.data_directory.string()),
                std::string(kElsewhere));
  }
  if (is_empty_or_missing(location)) return;
  if (const auto use = server_with_tablespace(location)) {
    throw Error(ErrorKind::kRefused, *use, std::string(kElsewhere));
  }
  std::error_code problem;
  if (!fs::equivalent(places.data_directory / link, location, problem)) {
    throw Error(ErrorKind::kRefused,
                fmt::format("{} is not empty, and {} does not lead there: another cluster may use "
                            "it",
                            location.string(), (places.data_directory / link).string()),
                fmt::format("{}, or empty the directory", kElsewhere));
  }
}

}  // namespace

void require_empty(const RestorePlaces& places) {
  require_empty(places.data_directory,
                "name an empty or a new directory, or write over what is there with --delta");
  for (const auto& [link, location] : places.tablespaces) require_empty(location, kElsewhere);
}

void require_replaceable(const RestorePlaces& places) {
  const fs::path& directory = places.data_directory;
  if (const auto use = server_on(directory)) {
    throw Error(ErrorKind::kRefused, *use,
                "stop the server; if there is none, remove the postmaster.pid");
  }
  if (!is_empty_or_missing(directory) && !fs::exists(directory / UnfinishedMark::kName) &&
      !holds_cluster(directory)) {
    throw Error(ErrorKind::kRefused,
                fmt::format("{} is not empty, and holds neither a PostgreSQL cluster nor an "
                            "unfinished restore: nothing in it was touched",
                            directory.string()),
                "name the cluster's data directory, or an empty one");
  }
  for (const auto& [link, location] : places.tablespaces) {
    require_replaceable_tablespace(places, link, location);
  }
}

UnfinishedMark::UnfinishedMark(const fs::path& data_directory)
    : path_(data_directory / kName),
      fd_(base::open_file(path_, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600)) {
  struct stat status {};
  // Without a name: the restore that had it has just come to its end.
  if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(fd_.get(), &status) != 0 ||
      status.st_nlink == 0) {
    throw Error(ErrorKind::kRefused,
                fmt::format("another restore into {} is at work", data_directory.string()),
                "wait until it has ended");
  }
  constexpr std::string_view kText =
      "A restore into this directory has not come to its end: run it again with --delta.\n";
  base::write_at(fd_.get(), 0, base::as_bytes(kText), path_);
  base::fsync_file(fd_.get(), path_);
  base::fsync_directory(data_directory);
}

void UnfinishedMark::remove() { fs::remove(path_); }

}  // namespace holdfast::postgres
