#include "postgres/segment_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "postgres/change_collector.h"
#include "postgres/little_endian.h"
#include "postgres/record_changes.h"
#include "postgres/wal_record.h"

namespace holdfast::postgres {
namespace {

// The metadata of a log object are at most 16 MiB.
constexpr std::size_t kMaxSection = std::size_t{8} << 20;
constexpr std::uint64_t kGreatest = std::numeric_limits<std::uint32_t>::max();

constexpr std::uint8_t kOverwrites = 1;

constexpr std::uint8_t kCreated = 1;
constexpr std::uint8_t kDropped = 2;
constexpr std::uint8_t kTruncated = 4;
constexpr std::uint8_t kHasWholeFrom = 8;
constexpr std::uint8_t kDatabaseBits = kCreated | kDropped;
constexpr std::uint8_t kRelationBits = kDatabaseBits | kTruncated | kHasWholeFrom;

// The least that each takes.
constexpr std::size_t kSmallestDatabase = 3;
constexpr std::size_t kSmallestPlace = 3;
constexpr std::size_t kSmallestRelation = 3;
constexpr std::size_t kSmallestRun = 2;

[[noreturn]] void fail(const std::string& object, std::string_view problem) {
  throw base::Error(base::ErrorKind::kDamaged,
                    fmt::format("the change map of {} {}", object, problem));
}

std::uint8_t bits_of(const RelationChanges& changes) {
  return static_cast<std::uint8_t>(
      (changes.created ? kCreated : 0) | (changes.dropped ? kDropped : 0) |
      (changes.truncated ? kTruncated : 0) |
      (changes.whole_from != RelationChanges{}.whole_from ? kHasWholeFrom : 0));
}

void pack(const RelationChanges& changes, base::ByteWriter& writer) {
  writer.u8(bits_of(changes));
  if (changes.whole_from != RelationChanges{}.whole_from) writer.varint(changes.whole_from);
  writer.varint(changes.blocks.size());
  std::uint64_t next = 0;
  for (const BlockRun& run : changes.blocks) {
    writer.varint(run.first - next);
    writer.varint(run.count - 1);
    next = std::uint64_t{run.first} + run.count;
  }
}

using Relation = std::map<RelationId, RelationChanges>::const_iterator;

bool same_place(const RelationId& a, const RelationId& b) {
  return a.tablespace == b.tablespace && a.database == b.database;
}

void pack(const ChangeMap& map, base::ByteWriter& writer) {
  writer.varint(map.databases.size());
  for (const auto& [id, changes] : map.databases) {
    writer.varint(id.tablespace);
    writer.varint(id.database);
    writer.u8(static_cast<std::uint8_t>((changes.created ? kCreated : 0) |
                                        (changes.dropped ? kDropped : 0)));
  }
  for (Relation first = map.relations.begin(); first != map.relations.end();) {
    const Relation end = std::find_if(first, map.relations.end(), [first](const auto& each) {
      return !same_place(each.first, first->first);
    });
    writer.varint(static_cast<std::uint64_t>(std::distance(first, end)));
    writer.varint(first->first.tablespace);
    writer.varint(first->first.database);
    std::uint64_t next = 0;
    for (; first != end; ++first) {
      writer.varint(first->first.number - next);
      next = std::uint64_t{first->first.number} + 1;
      pack(first->second, writer);
    }
  }
  writer.varint(0);
}

// Numbers that grow, each given as its distance from the one before.
std::uint64_t add_distance(std::uint64_t from, std::uint64_t distance, const std::string& object) {
  if (distance > kGreatest || from + distance > kGreatest) fail(object, "holds impossible numbers");
  return from + distance;
}

std::uint32_t unpack_number(base::ByteReader& reader, const std::string& object) {
  return static_cast<std::uint32_t>(add_distance(0, reader.varint(), object));
}

std::uint8_t unpack_bits(base::ByteReader& reader, std::uint8_t known, const std::string& object) {
  const std::uint8_t bits = reader.u8();
  if ((bits & ~known) != 0) fail(object, "holds marks that are not known");
  return bits;
}

RelationChanges unpack_relation(base::ByteReader& reader, const std::string& object) {
  RelationChanges changes;
  const std::uint8_t bits = unpack_bits(reader, kRelationBits, object);
  changes.created = (bits & kCreated) != 0;
  changes.dropped = (bits & kDropped) != 0;
  changes.truncated = (bits & kTruncated) != 0;
  if ((bits & kHasWholeFrom) != 0) changes.whole_from = unpack_number(reader, object);
  const std::size_t runs = reader.count(kSmallestRun);
  changes.blocks.reserve(runs);
  std::uint64_t next = 0;
  while (changes.blocks.size() < runs) {
    const std::uint64_t first = add_distance(next, reader.varint(), object);
    const std::uint64_t last = add_distance(first, reader.varint(), object);
    if (first == next && !changes.blocks.empty()) fail(object, "has one stretch of blocks in two");
    next = add_distance(last, 1, object);
    changes.blocks.push_back(
        {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(next - first)});
  }
  return changes;
}

void unpack_place(base::ByteReader& reader, std::uint64_t count, ChangeMap& map,
                  const std::string& object) {
  if (count > reader.left() / kSmallestRelation ||
      count > ChangeMap::kMaxRelations - map.relations.size()) {
    fail(object, "names more relations than it can hold");
  }
  RelationId id;
  id.tablespace = unpack_number(reader, object);
  id.database = unpack_number(reader, object);
  std::uint64_t next = 0;
  for (; count > 0; --count) {
    id.number = static_cast<std::uint32_t>(add_distance(next, reader.varint(), object));
    next = std::uint64_t{id.number} + 1;
    if (!map.relations.empty() && map.relations.rbegin()->first >= id) {
      fail(object, "names relations out of order");
    }
    map.relations.emplace_hint(map.relations.end(), id, unpack_relation(reader, object));
  }
}

ChangeMap unpack(base::ByteReader& reader, const std::string& object) {
  ChangeMap map;
  const std::size_t databases = reader.count(kSmallestDatabase);
  if (databases > ChangeMap::kMaxDatabases) fail(object, "names more databases than it can hold");
  for (std::size_t i = 0; i < databases; ++i) {
    DatabaseId id;
    id.tablespace = unpack_number(reader, object);
    id.database = unpack_number(reader, object);
    const std::uint8_t bits = unpack_bits(reader, kDatabaseBits, object);
    map.databases[id] = {.created = (bits & kCreated) != 0, .dropped = (bits & kDropped) != 0};
  }
  while (const std::uint64_t relations = reader.varint()) {
    unpack_place(reader, relations, map, object);
  }
  return map;
}

base::Bytes pack(const SegmentChanges& changes) {
  base::ByteWriter writer;
  writer.u16(changes.page_magic);
  writer.u64(changes.last_record);
  writer.u64(changes.record_before);
  writer.u64(changes.covered_to);
  writer.u8(changes.overwrites ? kOverwrites : 0);
  writer.u32(changes.continued_size);
  writer.bytes(changes.front);
  writer.bytes(changes.tail);
  pack(changes.map, writer);
  return writer.take();
}

// Calls the relations whole whose lists are the longest; false where there is no list left.
bool make_smaller(ChangeMap& map) {
  std::size_t longest = 0;
  for (const auto& [id, changes] : map.relations)
    longest = std::max(longest, changes.blocks.size());
  for (auto& [id, changes] : map.relations) {
    if (longest == 0 || changes.blocks.size() < (longest + 1) / 2) continue;
    changes.whole_from = 0;
    changes.blocks.clear();
  }
  return longest != 0;
}

}  // namespace

SegmentJoin join_segments(const SegmentChanges& earlier, const SegmentChanges& later,
                          ChangeMap& map) {
  if (later.page_magic != earlier.page_magic) return SegmentJoin::kForeign;
  if (later.overwrites && later.continued_size == 0) {
    return SegmentJoin::kDone;  // over the record that was cut
  }
  if (earlier.last_record != 0 && later.record_before != 0 &&
      earlier.last_record != later.record_before) {
    return SegmentJoin::kForeign;
  }
  if (earlier.tail.empty()) return SegmentJoin::kDone;
  const std::size_t size = load<std::uint32_t>(earlier.tail.data());
  if (size != earlier.tail.size() + std::size_t{later.continued_size}) {
    return SegmentJoin::kForeign;
  }
  base::Bytes record = earlier.tail;
  record.insert(record.end(), later.front.begin(), later.front.end());
  if (record.size() < kRecordHeaderSize) return SegmentJoin::kUntold;
  ChangeCollector changes;
  if (read_record_changes(record, size, earlier.page_magic, changes) != RecordReading::kDone) {
    return SegmentJoin::kUntold;
  }
  map.add(changes.take().value());
  return SegmentJoin::kDone;
}

repository::LogSection encode_changes(SegmentChanges changes) {
  base::Bytes content = pack(changes);
  while (content.size() > kMaxSection) {
    if (!make_smaller(changes.map)) {
      changes.map = {};
      changes.covered_to = 0;
    }
    content = pack(changes);
  }
  return {kChangesSection, std::move(content)};
}

std::optional<SegmentChanges> decode_changes(const repository::LogInfo& info,
                                             const std::string& object) {
  const base::Bytes* section = info.section(kChangesSection);
  if (section == nullptr) return std::nullopt;
  if (section->size() > kMaxSection) fail(object, "is larger than any");
  base::ByteReader reader(*section, object);
  SegmentChanges changes;
  changes.page_magic = reader.u16();
  changes.last_record = reader.u64();
  changes.record_before = reader.u64();
  changes.covered_to = reader.u64();
  changes.overwrites = unpack_bits(reader, kOverwrites, object) != 0;
  changes.continued_size = reader.u32();
  const base::ByteView front = reader.bytes();
  const base::ByteView tail = reader.bytes();
  if (front.size() > std::min<std::size_t>(changes.continued_size, SegmentChanges::kMaxFront) ||
      tail.size() > SegmentChanges::kMaxTail ||
      (!tail.empty() && tail.size() < sizeof(std::uint64_t))) {
    fail(object, "holds parts of records that cannot be");
  }
  changes.front.assign(front.begin(), front.end());
  changes.tail.assign(tail.begin(), tail.end());
  changes.map = unpack(reader, object);
  reader.expect_end();
  return changes;
}

}  // namespace holdfast::postgres
