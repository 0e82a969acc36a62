// The payloads of WAL records that change something, as servers write them, and what was read of
// them, for tests.
#pragma once

#include <fmt/format.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "postgres/wal_builder.h"
#include "postgres/wal_segment.h"

namespace holdfast::postgres {

// What stands in a record for one block.
struct TestBlock {
  RelationId relation;
  std::uint32_t block = 0;
  std::uint8_t fork = 0;
  bool same_relation = false;  // the relation is that of the block before: it is left out
  std::size_t data_size = 0;
  std::size_t image_size = 0;   // 0: no image
  std::uint8_t image_info = 0;  // bimg_info
  bool hole_length = false;     // it follows
};

// The block headers with the ids 0, 1, 2..., the main data's header, and all data behind them.
inline base::Bytes block_payload(const std::vector<TestBlock>& blocks, std::size_t main_size) {
  base::ByteWriter headers;
  std::size_t data_size = main_size;
  std::uint8_t id = 0;
  for (const TestBlock& block : blocks) {
    headers.u8(id++);
    headers.u8(static_cast<std::uint8_t>(block.fork | (block.image_size != 0 ? 0x10 : 0) |
                                         (block.data_size != 0 ? 0x20 : 0) |
                                         (block.same_relation ? 0x80 : 0)));
    headers.u16(static_cast<std::uint16_t>(block.data_size));
    if (block.image_size != 0) {
      headers.u16(static_cast<std::uint16_t>(block.image_size));
      headers.u16(100);
      headers.u8(block.image_info);
      if (block.hole_length) headers.u16(200);
    }
    if (!block.same_relation) {
      headers.u32(block.relation.tablespace);
      headers.u32(block.relation.database);
      headers.u32(block.relation.number);
    }
    headers.u32(block.block);
    data_size += block.data_size + block.image_size;
  }
  if (main_size > 255) {
    headers.u8(254);
    headers.u32(static_cast<std::uint32_t>(main_size));
  } else if (main_size > 0) {
    headers.u8(255);
    headers.u8(static_cast<std::uint8_t>(main_size));
  }
  headers.raw(base::Bytes(data_size, 0xDD));
  return headers.take();
}

// A record without blocks whose main data are these integers.
inline base::Bytes main_payload(const std::vector<std::uint32_t>& integers) {
  base::ByteWriter writer;
  const std::size_t size = integers.size() * 4;
  writer.u8(size > 255 ? 254 : 255);
  size > 255 ? writer.u32(static_cast<std::uint32_t>(size))
             : writer.u8(static_cast<std::uint8_t>(size));
  for (const std::uint32_t integer : integers) writer.u32(integer);
  return writer.take();
}

// The end of a transaction: `info` is xl_xact_xinfo.
inline base::Bytes transaction_payload(std::uint32_t info, std::uint32_t relations) {
  std::vector<std::uint32_t> data = {1, 2, info};
  if ((info & 1) != 0) data.insert(data.end(), {5, 1663});
  if ((info & 2) != 0) data.insert(data.end(), {3, 801, 802, 803});
  if ((info & 4) != 0) {
    data.push_back(relations);
    for (std::uint32_t i = 0; i < relations; ++i) data.insert(data.end(), {1663, 5, 100 + i});
  }
  return main_payload(data);
}

inline void set_page_magic(base::Bytes& segment, std::uint16_t magic) {
  for (std::size_t at = 0; at < segment.size(); at += WalBuilder::kPageSize) {
    segment[at] = static_cast<std::uint8_t>(magic);
    segment[at + 1] = static_cast<std::uint8_t>(magic >> 8);
  }
}

inline std::set<std::uint32_t> blocks_of(const ChangeMap& map, const RelationId& id) {
  std::set<std::uint32_t> blocks;
  const auto found = map.relations.find(id);
  if (found == map.relations.end()) return blocks;
  for (const BlockRun& run : found->second.blocks) {
    for (std::uint32_t i = 0; i < run.count; ++i) blocks.insert(run.first + i);
  }
  return blocks;
}

// All of it: for comparisons.
inline std::string text_of(const ChangeMap& map) {
  std::string text;
  for (const auto& [id, changes] : map.relations) {
    text += fmt::format("{}/{}/{} {}{}{} {}:", id.tablespace, id.database, id.number,
                        changes.created, changes.truncated, changes.dropped, changes.whole_from);
    for (const BlockRun& run : changes.blocks) text += fmt::format(" {}+{}", run.first, run.count);
    text += "\n";
  }
  for (const auto& [id, changes] : map.databases) {
    text +=
        fmt::format("{}/{} {}{}\n", id.tablespace, id.database, changes.created, changes.dropped);
  }
  return text;
}

inline SegmentChanges changes_of(base::ByteView segment) {
  SegmentChanges changes;
  scan_segment(segment, changes);
  return changes;
}

// The same in every run.
class TestRandom {
 public:
  explicit TestRandom(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

 private:
  std::mt19937 engine_;
};

}  // namespace holdfast::postgres
