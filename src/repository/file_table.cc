#include "repository/file_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;

constexpr std::string_view kTable = "file table";
constexpr std::size_t kExtentsInEntry = 8;
constexpr std::size_t kMaxPathLength = 4096;
constexpr std::size_t kMinExtentSize = 1 + 32 + 1;
constexpr std::size_t kPieceLimit = 1024 * 1024;  // a piece of the table or of extents, as a rule
constexpr std::uint32_t kModeBits = 07777;
constexpr std::uint8_t kWithAttributes = 0x80;  // in the byte of the type
constexpr std::uint32_t kNanosecondsInMicrosecond = 1000;
// No name of an extended attribute is longer (XATTR_NAME_MAX).
constexpr std::size_t kMaxXattrName = 255;

// Of an entry; each at most once, in this order.
enum class Attribute : std::uint8_t {
  kNanoseconds = 1,
  kXattr = 2,  // as often as there are any
  kHardLink = 3,
  kOnTheWay = 4,
  kSighting = 5,
};
constexpr std::uint64_t kEntriesInPiece = 128;  // on average
constexpr std::uint32_t kExtentsInPiece = 512;  // on average
// Extents that go to and fro between two chunks could cut after every other one.
constexpr std::size_t kLeastPiece = 4 * 1024;
// Years 1 to 9999: what format_time and every file system's calls can bear.
constexpr std::int64_t kEarliest = -62'135'596'800'000'000;
constexpr std::int64_t kLatest = 253'402'300'799'999'999;

[[noreturn]] void throw_damaged(std::string_view problem) {
  throw base::Error(ErrorKind::kDamaged, fmt::format("{}: {}", kTable, problem));
}

// FNV-1a, and the last step of MurmurHash3 because the last characters hardly move its upper bits.
// Decides where the table is cut: what makes tables alike, no part of the format.
bool cut_before(std::string_view path) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return (hash >> 33) % kEntriesInPiece == 0;
}

// A chunk's id is as good as random, so the cuts stay where they are when extents elsewhere change.
bool cut_after(const ChunkId& id) {
  const auto bits = static_cast<std::uint32_t>(id.bytes[30] | id.bytes[31] << 8);
  return !id.is_zero_range() && bits % kExtentsInPiece == 0;
}

void encode_extent(base::ByteWriter& out, const Extent& extent) {
  out.varint(extent.length_bytes);
  out.raw(extent.chunk.bytes);
  out.varint(extent.chunk_offset);
}

std::vector<Extent> decode_extents(base::ByteReader& in) {
  std::vector<Extent> extents(in.count(kMinExtentSize));
  for (Extent& extent : extents) {
    extent.length_bytes = in.varint();
    const base::ByteView id = in.raw(extent.chunk.bytes.size());
    std::copy(id.begin(), id.end(), extent.chunk.bytes.begin());
    const std::uint64_t offset = in.varint();
    if (extent.length_bytes == 0) throw_damaged("an extent is empty");
    if (extent.chunk.is_zero_range()) {
      if (offset != 0) throw_damaged("an extent of zero bytes has an offset");
    } else if (offset >= kMaxChunkSize || extent.length_bytes > kMaxChunkSize - offset) {
      throw_damaged("an extent is longer than a chunk can be");
    }
    extent.chunk_offset = static_cast<std::uint32_t>(offset);
  }
  return extents;
}

std::int64_t bounded_time(base::Time time) {
  return std::clamp<std::int64_t>(time.time_since_epoch().count(), kEarliest, kLatest);
}

void encode_attribute(base::ByteWriter& out, Attribute attribute, const base::ByteWriter& value) {
  out.u8(static_cast<std::uint8_t>(attribute));
  out.bytes(value.view());
}

// A list of tagged values, and a zero byte.
void encode_attributes(base::ByteWriter& out, const FileEntry& entry) {
  if (entry.modified_ns != 0) {
    base::ByteWriter value;
    value.varint(entry.modified_ns);
    encode_attribute(out, Attribute::kNanoseconds, value);
  }
  for (const ExtendedAttribute& xattr : entry.xattrs) {
    base::ByteWriter value;
    value.string(xattr.name);
    value.raw(base::as_bytes(xattr.value));
    encode_attribute(out, Attribute::kXattr, value);
  }
  if (!entry.hard_link.empty()) {
    base::ByteWriter value;
    value.raw(base::as_bytes(entry.hard_link));
    encode_attribute(out, Attribute::kHardLink, value);
  }
  if (entry.on_the_way) encode_attribute(out, Attribute::kOnTheWay, {});
  if (entry.sighting) {
    base::ByteWriter value;
    value.u64(entry.sighting->inode);
    value.u64(static_cast<std::uint64_t>(entry.sighting->changed_ns));
    encode_attribute(out, Attribute::kSighting, value);
  }
  out.u8(0);
}

bool has_attributes(const FileEntry& entry) {
  return entry.modified_ns != 0 || !entry.xattrs.empty() || !entry.hard_link.empty() ||
         entry.on_the_way || entry.sighting;
}

void encode_entry(base::ByteWriter& out, const FileEntry& entry) {
  const bool attributes = has_attributes(entry);
  out.string(entry.path);
  out.u8(static_cast<std::uint8_t>(static_cast<std::uint8_t>(entry.type) |
                                   (attributes ? kWithAttributes : 0)));
  out.varint(entry.mode & kModeBits);
  out.string(entry.owner);
  out.varint(entry.uid);
  out.string(entry.group);
  out.varint(entry.gid);
  out.u64(static_cast<std::uint64_t>(bounded_time(entry.modified)));
  out.varint(entry.size_bytes);
  out.string(entry.link_target);
  out.u8(entry.extent_chunks.empty() ? 0 : 1);
  if (entry.extent_chunks.empty()) {
    out.varint(entry.extents.size());
    for (const Extent& extent : entry.extents) encode_extent(out, extent);
  } else {
    out.varint(entry.extent_chunks.size());
    for (const ChunkId& id : entry.extent_chunks) out.raw(id.bytes);
  }
  if (attributes) encode_attributes(out, entry);
}

std::uint32_t read_u32(base::ByteReader& in, std::uint64_t max, std::string_view problem) {
  const std::uint64_t value = in.varint();
  if (value > max) throw_damaged(problem);
  return static_cast<std::uint32_t>(value);
}

void decode_extents_of(base::ByteReader& in, FileEntry& entry) {
  const std::uint8_t place = in.u8();
  if (place > 1) throw_damaged("extents stand in an unknown place");
  if (place == 0) {
    entry.extents = decode_extents(in);
  } else {
    entry.extent_chunks.resize(in.count(32));
    if (entry.extent_chunks.empty()) throw_damaged("extents stand in no chunk");
    for (ChunkId& id : entry.extent_chunks) {
      const base::ByteView bytes = in.raw(id.bytes.size());
      std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
      if (id.is_zero_range()) throw_damaged("extents stand in no chunk");
    }
  }
}

void decode_xattr(base::ByteReader& value, FileEntry& entry) {
  ExtendedAttribute xattr;
  xattr.name = value.string();
  xattr.value = base::as_text(value.raw(value.left()));
  if (xattr.name.empty() || xattr.name.size() > kMaxXattrName ||
      xattr.name.find('\0') != std::string::npos ||
      (!entry.xattrs.empty() && entry.xattrs.back().name >= xattr.name)) {
    throw_damaged("the name of an extended attribute is not right");
  }
  entry.xattrs.push_back(std::move(xattr));
}

void decode_attribute(Attribute attribute, base::ByteReader& value, FileEntry& entry) {
  switch (attribute) {
    case Attribute::kNanoseconds:
      entry.modified_ns =
          read_u32(value, kNanosecondsInMicrosecond - 1, "nanoseconds are out of bounds");
      return;
    case Attribute::kXattr:
      return decode_xattr(value, entry);
    case Attribute::kHardLink:
      entry.hard_link = base::as_text(value.raw(value.left()));
      if (entry.type != FileType::kFile || !is_table_path(entry.hard_link) ||
          entry.hard_link >= entry.path) {
        throw_damaged("a hard link leads to no file before it");
      }
      return;
    case Attribute::kOnTheWay:
      if (entry.type != FileType::kDirectory) throw_damaged("what is no directory leads nowhere");
      entry.on_the_way = true;
      return;
    case Attribute::kSighting:
      entry.sighting = Sighting{value.u64(), static_cast<std::int64_t>(value.u64())};
      return;
  }
  throw_damaged("an attribute is of an unknown kind");
}

void decode_attributes(base::ByteReader& in, FileEntry& entry) {
  std::uint8_t last = 0;
  while (const std::uint8_t tag = in.u8()) {
    const bool again = tag == last && tag == static_cast<std::uint8_t>(Attribute::kXattr);
    if (tag <= last && !again) throw_damaged("attributes are not in order");
    last = tag;
    base::ByteReader value(in.bytes(), kTable);
    decode_attribute(static_cast<Attribute>(tag), value, entry);
    value.expect_end();
  }
}

FileEntry decode_entry(base::ByteReader& in) {
  FileEntry entry;
  entry.path = in.string();
  if (!is_table_path(entry.path)) throw_damaged("a path is not relative and plain");
  const std::uint8_t type_byte = in.u8();
  const std::uint8_t type = type_byte & static_cast<std::uint8_t>(~kWithAttributes);
  if (type < 1 || type > 4) throw_damaged("an entry is of an unknown type");
  entry.type = static_cast<FileType>(type);
  entry.mode = read_u32(in, kModeBits, "permission bits are out of bounds");
  entry.owner = in.string();
  entry.uid = read_u32(in, UINT32_MAX, "an owner is out of bounds");
  entry.group = in.string();
  entry.gid = read_u32(in, UINT32_MAX, "a group is out of bounds");
  const auto modified = static_cast<std::int64_t>(in.u64());
  if (modified < kEarliest || modified > kLatest) throw_damaged("a time is out of bounds");
  entry.modified = base::Time(std::chrono::microseconds(modified));
  entry.size_bytes = in.varint();
  entry.link_target = in.string();
  if (entry.link_target.empty() == (entry.type == FileType::kSymlink) ||
      entry.link_target.find('\0') != std::string::npos) {
    throw_damaged("a link's target is not right");
  }
  decode_extents_of(in, entry);
  if (entry.type != FileType::kFile &&
      (entry.size_bytes != 0 || !entry.extents.empty() || !entry.extent_chunks.empty())) {
    throw_damaged("what is no file has content");
  }
  if ((type_byte & kWithAttributes) != 0) decode_attributes(in, entry);
  return entry;
}

}  // namespace

bool is_table_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathLength || path.find('\0') != std::string_view::npos) {
    return false;
  }
  while (true) {
    const std::size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == std::string_view::npos) return true;
    path.remove_prefix(end + 1);
  }
}

void store_extents(FileEntry& entry, ChunkStore::Writer& writer) {
  if (entry.extents.size() <= kExtentsInEntry) return;
  base::ByteWriter piece;
  const auto store_piece = [&] {
    entry.extent_chunks.push_back(writer.put_metadata(piece.view()));
    piece = {};
  };
  piece.varint(entry.extents.size());
  for (std::size_t i = 0; i < entry.extents.size(); ++i) {
    const Extent& extent = entry.extents[i];
    encode_extent(piece, extent);
    // Many extents in a row may be of one chunk.
    const bool last_of_chunk =
        i + 1 < entry.extents.size() && entry.extents[i + 1].chunk != extent.chunk;
    const bool cut = last_of_chunk && cut_after(extent.chunk) && piece.size() >= kLeastPiece;
    if (cut || piece.size() >= kPieceLimit) store_piece();
  }
  if (piece.size() > 0) store_piece();
  entry.extents.clear();
}

std::vector<Extent> load_extents(const FileEntry& entry, ChunkReader& reader) {
  std::vector<Extent> extents = entry.extents;
  if (!entry.extent_chunks.empty()) {
    base::Bytes joined;
    for (const ChunkId& id : entry.extent_chunks) {
      const base::Bytes piece = reader.read(id);
      joined.insert(joined.end(), piece.begin(), piece.end());
    }
    base::ByteReader in(joined, kTable);
    extents = decode_extents(in);
    in.expect_end();
  }
  std::uint64_t left = entry.size_bytes;
  for (const Extent& extent : extents) {
    if (extent.length_bytes > left) throw_damaged("extents are longer than their file");
    left -= extent.length_bytes;
    if (extent.chunk.is_zero_range()) continue;
    const std::optional<std::uint32_t> length = reader.find_length(extent.chunk);
    if (length && extent.chunk_offset + extent.length_bytes > *length) {
      throw_damaged("an extent is longer than its chunk");
    }
  }
  if (left != 0) throw_damaged("extents are shorter than their file");
  return extents;
}

std::vector<ChunkId> store_file_table(const std::vector<FileEntry>& entries,
                                      ChunkStore::Writer& writer) {
  std::vector<ChunkId> chunks;
  base::ByteWriter piece;
  const auto store_piece = [&] {
    if (piece.size() > 0) chunks.push_back(writer.put_metadata(piece.view()));
    piece = {};
  };
  const std::string* previous = nullptr;
  for (const FileEntry& entry : entries) {
    if (!is_table_path(entry.path) || (previous != nullptr && entry.path <= *previous)) {
      throw base::Error(ErrorKind::kFailed,
                        "a mistake in the program: a path cannot stand in a file table there");
    }
    previous = &entry.path;
    if (cut_before(entry.path) || piece.size() >= kPieceLimit) store_piece();
    encode_entry(piece, entry);
  }
  store_piece();
  return chunks;
}

void load_file_table(const std::vector<ChunkId>& chunks, ChunkReader& reader,
                     const std::function<void(FileEntry&&)>& each) {
  std::string previous;
  for (const ChunkId& id : chunks) {
    const base::Bytes piece = reader.read(id);
    base::ByteReader in(piece, kTable);
    while (in.left() > 0) {
      FileEntry entry = decode_entry(in);
      if (entry.path <= previous) throw_damaged("paths are not in order");
      previous = entry.path;
      each(std::move(entry));
    }
  }
}

}  // namespace holdfast::repository
