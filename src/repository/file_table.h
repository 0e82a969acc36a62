// The files of a backup and the extents of which each is made. "The file table" in docs/format.md.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "repository/chunk_reader.h"
#include "repository/chunk_writer.h"

namespace holdfast::repository {

struct Extent {
  std::uint64_t length_bytes = 0;
  ChunkId chunk;  // zero: a range of zero bytes
  std::uint32_t chunk_offset = 0;
};

enum class FileType : std::uint8_t { kFile = 1, kDirectory = 2, kSymlink = 3, kFifo = 4 };

struct ExtendedAttribute {
  std::string name;  // with its namespace: "user.origin"
  std::string value;
  auto operator<=>(const ExtendedAttribute&) const = default;
};

// How a file was found when it was read, so that the next backup can tell that it has not changed.
struct Sighting {
  std::uint64_t inode = 0;
  std::int64_t changed_ns = 0;  // st_ctim, since 1970
  auto operator<=>(const Sighting&) const = default;
};

struct FileEntry {
  std::string path;  // relative, '/'-separated, no "." or ".." part
  FileType type = FileType::kFile;
  std::uint32_t mode = 0;
  std::string owner;
  std::uint32_t uid = 0;
  std::string group;
  std::uint32_t gid = 0;
  base::Time modified;
  std::uint64_t size_bytes = 0;
  std::string link_target;
  // Either the extents are here, or they stand in these metadata chunks (load_extents reads them).
  std::vector<Extent> extents;
  std::vector<ChunkId> extent_chunks;
  // What files of an operating system have and those of a database need not ("Attributes" in
  // docs/format.md).
  std::uint32_t modified_ns = 0;               // below the microsecond of `modified`: 0 to 999
  std::vector<ExtendedAttribute> xattrs = {};  // sorted by name; at most kMaxXattrBytes in all
  std::string hard_link = {};  // path of an entry before: another name of that file; its extents
                               // stand here too
  bool on_the_way = false;     // a directory that was not asked for itself, but leads to what was
  std::optional<Sighting> sighting = {};
};

inline constexpr std::size_t kMaxXattrBytes = 1024 * 1024;

// Whether a path can stand in a table: relative, at most 4,096 bytes, no part empty, "." or "..".
bool is_table_path(std::string_view path);

// Moves the extents of an entry that has many (more than 8) into metadata chunks of their own.
void store_extents(FileEntry& entry, ChunkStore::Writer& writer);
// The opposite. No error names the path: it may be a secret's. kDamaged unless the extents have the
// file's size and stand within their chunks. (A chunk that is in no pack is left to the one who
// reads it.)
std::vector<Extent> load_extents(const FileEntry& entry, ChunkReader& reader);

// Entries in the order of their paths (kFailed if they are not), cut at places that depend on the
// paths alone, so that an unchanged stretch of the table is stored once.
std::vector<ChunkId> store_file_table(const std::vector<FileEntry>& entries,
                                      ChunkStore::Writer& writer);
// Paths are checked (relative, no "..", in order): they come from an object. Whether a path leads
// through a symbolic link of the table is not: who creates files must not follow any.
void load_file_table(const std::vector<ChunkId>& chunks, ChunkReader& reader,
                     const std::function<void(FileEntry&&)>& each);

}  // namespace holdfast::repository
