#include "postgres/directory_dump.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>

#include "base/concurrency.h"
#include "base/error.h"
#include "base/file.h"

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::string_view kDigits = "0123456789";
// The end of COPY, and two lines that pg_dump adds. In a row's text a backslash is doubled.
constexpr std::string_view kDataEnd = "\\.\n\n\n";
constexpr std::size_t kMaxContentsBytes = std::size_t{1} << 30;
constexpr std::size_t kAtATime = 10'000;

[[noreturn]] void not_whole(const std::string& what) {
  throw Error(ErrorKind::kFailed, "what pg_dump wrote is not whole: " + what);
}

// NNNN.dat
bool is_table_data(std::string_view name) {
  const auto end = name.find_first_not_of(kDigits);
  return end != 0 && end != std::string_view::npos && name.substr(end) == ".dat";
}

void require_end(const fs::path& file) {
  const std::uint64_t size = fs::file_size(file);
  const std::uint64_t wanted = std::min<std::uint64_t>(size, kDataEnd.size() + 1);
  base::Bytes tail(wanted);
  const base::UniqueFd fd = base::open_file(file, O_RDONLY);
  tail.resize(base::read_at(fd.get(), size - wanted, tail, file));
  std::string_view text = base::as_text(tail);
  if (text == kDataEnd) return;  // of a table without rows
  if (!text.starts_with('\n') || text.substr(1) != kDataEnd) {
    not_whole(fmt::format("{} has no end", file.filename().string()));
  }
}

// The large objects that a table of contents names, by lines "OID blob_OID.dat".
void add_large_objects(const fs::path& contents, std::set<std::string>& named) {
  const std::string text = base::read_text_file(contents, kMaxContentsBytes);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::size_t space = text.find(' ', at);
    const std::string id = text.substr(at, std::min(space, end) - at);
    if (end == std::string::npos || id.empty() ||
        std::string_view(text).substr(at, end - at) != fmt::format("{0} blob_{0}.dat", id)) {
      not_whole(fmt::format("{} has no end", contents.filename().string()));
    }
    named.insert(id);
    at = end + 1;
  }
}

void require_large_objects(const fs::path& directory, const std::set<std::string>& named,
                           Connection& snapshot) {
  // Each is opened once and closed again; the subqueries keep the order of the three. 262144: to
  // read; 2: its end.
  const std::string query = fmt::format(
      "SELECT oid, size, pg_catalog.lo_close(fd) FROM"
      " (SELECT oid, fd, pg_catalog.lo_lseek64(fd, 0, 2) AS size FROM"
      "   (SELECT oid, pg_catalog.lo_open(oid, 262144) AS fd"
      "      FROM pg_catalog.pg_largeobject_metadata WHERE oid > $1::oid"
      "      ORDER BY oid LIMIT {} OFFSET 0) AS opened OFFSET 0) AS sized ORDER BY oid",
      kAtATime);
  std::string last = "0";
  while (true) {
    const std::vector<Row> rows = snapshot.query(query, {last});
    for (const Row& row : rows) {
      last = row.at(0).value();
      const fs::path file = directory / fmt::format("blob_{}.dat", last);
      std::error_code problem;
      const std::uintmax_t size = fs::file_size(file, problem);
      if (problem || !named.contains(last) || std::to_string(size) != row.at(1)) {
        not_whole(fmt::format("the large object {} is not all there", last));
      }
    }
    if (rows.size() < kAtATime) return;
  }
}

}  // namespace

void require_whole(const fs::path& directory, Connection& snapshot, bool large_objects,
                   const std::stop_token& stop) {
  std::set<std::string> named;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    base::throw_if_stopped(stop);
    const std::string name = entry.path().filename().string();
    if (is_table_data(name)) require_end(entry.path());
    // blobs.toc, or since PostgreSQL 17 several: blobs_NNNN.toc
    if (name.starts_with("blobs") && name.ends_with(".toc")) {
      add_large_objects(entry.path(), named);
    }
  }
  if (large_objects) require_large_objects(directory, named, snapshot);
}

}  // namespace holdfast::postgres
