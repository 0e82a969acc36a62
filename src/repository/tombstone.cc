#include "repository/tombstone.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "repository/fields.h"
#include "repository/pack_format.h"
#include "repository/sealed_object.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kPrefix = "tombstones/";

}  // namespace

base::Bytes encode_tombstone(std::span<const PackId> packs) {
  base::ByteWriter out;
  out.varint(packs.size());
  for (const PackId& id : packs) out.raw(id.bytes);
  return out.take();
}

std::vector<PackId> decode_tombstone(base::ByteView body) {
  base::ByteReader in(body, "tombstone");
  std::vector<PackId> packs(in.count(sizeof(PackId::bytes)));
  for (PackId& id : packs) id.bytes = read_array<16>(in);
  in.expect_end();
  return packs;
}

void put_tombstone(const Context& context, std::span<const PackId> packs) {
  const std::string name = tombstone_name(TombstoneId::make(context.random));
  if (put_metadata(context, name, MetadataKind::kTombstone, encode_tombstone(packs)) !=
      storage::PutResult::kCreated) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("{}: the name is taken, though it is random", name));
  }
}

TombstoneList list_tombstones(const Context& context) {
  std::vector<storage::ObjectInfo> objects;
  context.storage.list(kPrefix, [&](const storage::ObjectInfo& info) { objects.push_back(info); });
  TombstoneList list;
  std::vector<std::string> names;
  std::map<std::string, base::Time> put;
  for (const storage::ObjectInfo& object : objects) {
    if (!parse_name<TombstoneId>(object.name, tombstone_name)) {
      list.damaged.emplace_back(object.name, "is not the name of a tombstone");
      continue;
    }
    names.push_back(object.name);
    put[object.name] = object.modified;
  }
  get_all_metadata(context, names, MetadataKind::kTombstone, [&](FetchedMetadata& fetched) {
    if (!fetched.body && !fetched.damage) return;  // removed since it was listed
    try {
      if (fetched.damage) throw *fetched.damage;
      const auto id = parse_name<TombstoneId>(fetched.name, tombstone_name);
      list.tombstones.push_back({*id, put[fetched.name], decode_tombstone(*fetched.body)});
    } catch (const base::Error& error) {
      if (!is_damage(error)) throw;
      list.damaged.emplace_back(fetched.name, error.what());
    }
  });
  return list;
}

}  // namespace holdfast::repository
