#include "repository/object_copy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "repository/fields.h"
#include "repository/log_format.h"
#include "repository/log_object.h"
#include "repository/object_in_hand.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

[[noreturn]] void damaged(std::string_view name, std::string_view problem) {
  throw Error(ErrorKind::kDamaged, fmt::format("{} {}", name, problem));
}

void require_known(const Context& to, base::ByteView public_key, std::string_view name) {
  const auto& pairs = to.keyring.data;
  const bool known = std::any_of(pairs.begin(), pairs.end(), [&](const DataKeyPair& pair) {
    return std::equal(public_key.begin(), public_key.end(), pair.public_key.begin(),
                      pair.public_key.end());
  });
  if (known) return;
  throw Error(ErrorKind::kRefused,
              fmt::format("{} is sealed to a key that the repository in {} does not have", name,
                          to.storage.describe()),
              "The data key was rotated after that repository was made: copy to a new one.");
}

// Where the frames begin; they are as long as they say, and together hold `length_bytes`.
void check_frames(std::string_view name, base::ByteView object, std::uint64_t length_bytes) {
  base::ByteReader reader(object, name);
  reader.raw(kLogHeadSize - 4);
  reader.raw(reader.u32());
  std::uint64_t length = 0;
  while (reader.left() > 0) {
    reader.u8();
    length += reader.u32();
    reader.raw(reader.u32());
  }
  if (length != length_bytes) damaged(name, "does not hold as much as it says");
}

}  // namespace

base::ByteView ObjectCopier::fetch(const std::string& name, std::uint64_t size_bytes) {
  if (buffer_.capacity() < size_bytes) {
    buffer_ = {};  // before the larger one is taken
    buffer_ = base::AlignedBuffer(size_bytes);
  }
  const base::MutableByteView bytes = buffer_.span().first(size_bytes);
  const auto got = from_.storage.read(name, 0, bytes);
  if (!got) damaged(name, "is missing in " + from_.storage.describe());
  if (*got != size_bytes) damaged(name, "is shorter than it was");
  return bytes;
}

Context ObjectCopier::reading(storage::Storage& storage) const {
  const Context& able = from_.keyring.can_read_data() ? from_ : to_;
  return {storage, able.keyring, able.clock, able.random, able.compression_level};
}

Index::PackContents ObjectCopier::copy_pack(const PackEntry& pack) {
  const std::string name = pack_name(pack.id);
  const base::ByteView bytes = fetch(name, pack.size_bytes);
  ObjectInHand hand(name, bytes);
  PackDirectory directory = read_pack_directory(reading(hand), pack.id, bytes.size());
  Index::PackContents contents = std::move(directory.contents);
  if (contents.pack.pack_class == PackClass::kData) {
    require_known(to_, recipient_of(directory.header), name);
  }
  check_chunks(pack.id, bytes, contents);
  if (to_.storage.put(name, bytes, use_of(contents.pack.pack_class)) ==
      storage::PutResult::kCreated) {
    return contents;
  }
  const auto there = to_.storage.stat(name);
  if (there && there->size_bytes == bytes.size()) return contents;
  throw Error(ErrorKind::kDamaged,
              fmt::format("{} holds {} with another size", to_.storage.describe(), name),
              "Look at that repository with `holdfast verify --all`; remove the damaged pack from "
              "it and copy again.");
}

void ObjectCopier::check_chunks(const PackId& id, base::ByteView pack,
                                const Index::PackContents& contents) {
  ObjectInHand hand(pack_name(id), pack);
  const Context context = reading(hand);
  const bool metadata = contents.pack.pack_class == PackClass::kMetadata;
  if (!metadata && !context.keyring.can_read_data()) return;
  PackHeader header;
  std::copy_n(pack.begin(), header.size(), header.begin());
  crypto::Aead aead(open_pack_header(context, id, contents.pack.pack_class, header));
  ChunkAssociatedData associated(context.keyring.repository, id);
  std::uint32_t number = 0;
  std::size_t offset = kPackHeaderSize;
  base::Bytes plain;
  for (const Index::PackContents::Chunk& chunk : contents.chunks) {
    plain.resize(chunk.stored_length - crypto::kTagSize);
    if (!aead.open(crypto::counter_nonce(number),
                   associated.of(chunk.id, chunk.codec, chunk.length),
                   pack.subspan(offset, chunk.stored_length), plain)) {
      throw_damaged_pack(id, fmt::format("its chunk {} does not authenticate", number));
    }
    offset += chunk.stored_length;
    ++number;
  }
}

void ObjectCopier::copy_log(const std::string& name, std::uint64_t size_bytes) {
  const base::ByteView bytes = fetch(name, size_bytes);
  check_log(name, bytes);
  if (to_.storage.put(name, bytes) == storage::PutResult::kCreated) return;
  if (!is_log_there(from_, to_, name)) damaged(name, "vanished while it was compared");
}

void ObjectCopier::check_log(const std::string& name, base::ByteView object) {
  ObjectInHand hand(name, object);
  const Context context = reading(hand);
  const auto info = stat_log(context, name);
  if (!info) damaged(name, "is missing");
  require_known(to_, object.subspan(kLogMagic.size(), sizeof(crypto::PublicKey)), name);
  if (context.keyring.can_read_data()) {
    read_log(context, name, [](base::ByteView) {});
  } else if (info->inline_content.empty()) {
    check_frames(name, object, info->length_bytes);
  }
}

bool is_log_there(const Context& from, const Context& to, const std::string& name) {
  const auto there = stat_log(to, name);
  if (!there) return false;
  const auto here = stat_log(from, name);
  if (!here) damaged(name, "is missing in " + from.storage.describe());
  if (there->length_bytes == here->length_bytes && there->digest == here->digest) return true;
  throw Error(ErrorKind::kRefused,
              fmt::format("{} holds {} with other content", to.storage.describe(), name),
              "Two servers with the same system identifier archive there: copy to a repository of "
              "its own.");
}

}  // namespace holdfast::repository
