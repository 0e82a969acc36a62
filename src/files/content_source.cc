#include "files/content_source.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace holdfast::files {
namespace {

using repository::Extent;

constexpr std::size_t kLargestChunk = 4 * 1024 * 1024;

// Fewer bytes where the file ends before; nothing where it cannot be read.
base::ByteView read_there(int fd, std::uint64_t offset, base::MutableByteView buffer) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t now =
        ::pread(fd, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) break;
    done += static_cast<std::size_t>(now);
  }
  return buffer.first(done);
}

}  // namespace

ContentSource::ContentSource(const repository::Context& context, const repository::Index& index,
                             Shown shown)
    : index_(index),
      shown_(shown),
      reader_(context, index),
      hasher_(context.keyring.identity),
      chunks_(reader_) {}

std::vector<FilePart> ContentSource::parts_of(const repository::FileEntry& entry) {
  std::vector<Extent> extents;
  try {
    extents = repository::load_extents(entry, reader_);
  } catch (const base::Error& error) {
    // It names the file.
    if (!shown_.secret()) throw;
    throw base::Error(error.kind(), "what a file of this component is made of cannot be read",
                      error.hint());
  }
  std::vector<FilePart> parts;
  parts.reserve(extents.size());
  std::uint64_t offset = 0;
  for (const Extent& extent : extents) {
    parts.push_back({offset, extent});
    offset += extent.length_bytes;
  }
  return parts;
}

base::ByteView ContentSource::read(const Extent& extent) { return chunks_.read(extent); }

base::ByteView ContentSource::read_same(int fd, const FilePart& part) {
  there_.resize(std::max<std::size_t>(there_.size(), part.extent.length_bytes));
  const base::ByteView there =
      read_there(fd, part.offset, base::MutableByteView(there_).first(part.extent.length_bytes));
  return there.size() == part.extent.length_bytes && is_same(part.extent, there) ? there
                                                                                 : base::ByteView();
}

bool ContentSource::is_same(const Extent& extent, base::ByteView there) {
  const auto location = index_.find(extent.chunk);
  if (location && location->kind == repository::ChunkKind::kBytes && extent.chunk_offset == 0 &&
      extent.length_bytes == location->length) {
    return hasher_.bytes_id(there) == extent.chunk;
  }
  return std::ranges::equal(read(extent), there);
}

bool ContentSource::is_zero(int fd, const FilePart& part) {
  there_.resize(std::max(there_.size(), kLargestChunk));
  const std::uint64_t end = part.offset + part.extent.length_bytes;
  for (std::uint64_t at = part.offset; at < end;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return true;  // a hole up to its end
    if (data > 0) at = std::max(at, static_cast<std::uint64_t>(data));
    if (at >= end) return true;
    const std::size_t size = std::min<std::uint64_t>(kLargestChunk, end - at);
    const base::ByteView there = read_there(fd, at, base::MutableByteView(there_).first(size));
    if (there.size() != size || !repository::all_zero(there)) return false;
    at += size;
  }
  return true;
}

}  // namespace holdfast::files
