// The files of a backup and the extents of which each is made. "The file table" in docs/format.md.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "repository/chunk_reader.h"
#include "repository/chunk_writer.h"

namespace holdfast::repository {

struct Extent {
  std::uint64_t length_bytes = 0;
  ChunkId chunk;  // zero: a range of zero bytes
  std::uint32_t chunk_offset = 0;
};

enum class FileType : std::uint8_t { kFile = 1, kDirectory = 2, kSymlink = 3 };

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
};

// Moves the extents of an entry that has many (more than 8) into metadata chunks of their own.
void store_extents(FileEntry& entry, ChunkStore::Writer& writer);
// The opposite. kDamaged unless the extents have the file's size and stand within their chunks. (A
// chunk that is in no pack is left to the one who reads it.)
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
