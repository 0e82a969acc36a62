#include "repository/sealed_object.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "repository/compression.h"
#include "repository/fields.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kMagic{"HFMETA\0\1", 8};
constexpr std::size_t kHeaderSize = 50;
constexpr std::uint64_t kMaxBodySize = 1024 * 1024 * 1024;
constexpr std::uint8_t kCodecNone = 0;
constexpr std::uint8_t kCodecZstd = 1;

crypto::Aead key_of(const Context& context, base::ByteView salt) {
  return crypto::Aead(crypto::hkdf_key<crypto::AeadKey>(salt, context.keyring.metadata.bytes(),
                                                        "holdfast metadata v1"));
}

base::Bytes associated_data(const Context& context, std::string_view name, base::ByteView header) {
  base::ByteWriter writer;
  writer.raw(header);
  writer.raw(context.keyring.repository.bytes);
  writer.raw(base::as_bytes(name));
  return writer.take();
}

storage::Use use_of(MetadataKind kind) {
  const bool soon_removed = kind == MetadataKind::kLock || kind == MetadataKind::kTombstone ||
                            kind == MetadataKind::kFence;
  return soon_removed ? storage::Use::kTransient : storage::Use::kMetadata;
}

}  // namespace

storage::PutResult put_metadata(const Context& context, std::string_view name, MetadataKind kind,
                                base::ByteView body, std::uint64_t* stored_bytes) {
  if (body.size() > kMaxBodySize) {
    throw Error(ErrorKind::kFailed, fmt::format("{} would be larger than 1 GiB", name));
  }
  base::Bytes packed(body.size());
  const auto packed_size = Compressor(context.compression_level).compress(body, packed);
  const base::ByteView text = packed_size ? base::ByteView(packed).first(*packed_size) : body;

  std::array<std::uint8_t, 32> salt;
  context.random.fill(salt);
  base::ByteWriter header;
  header.raw(base::as_bytes(kMagic));
  header.u8(static_cast<std::uint8_t>(kind));
  header.u8(packed_size ? kCodecZstd : kCodecNone);
  header.u64(body.size());
  header.raw(salt);

  base::Bytes object = header.take();
  object.resize(kHeaderSize + text.size() + crypto::kTagSize);
  const auto whole = base::MutableByteView(object);
  key_of(context, salt)
      .seal(crypto::Nonce{}, associated_data(context, name, whole.first(kHeaderSize)), text,
            whole.subspan(kHeaderSize));
  if (stored_bytes != nullptr) *stored_bytes = object.size();
  return context.storage.put(name, object, use_of(kind));
}

std::optional<base::Bytes> get_metadata(const Context& context, std::string_view name,
                                        MetadataKind kind) {
  const auto object = context.storage.get(name, kHeaderSize + kMaxBodySize + crypto::kTagSize);
  if (!object) return std::nullopt;
  const auto refuse = [&](std::string_view problem) {
    throw Error(ErrorKind::kDamaged, fmt::format("{} {}", name, problem));
  };

  base::ByteReader reader(*object, name);
  expect_magic(reader, kMagic, name);
  const std::uint8_t stored_kind = reader.u8();
  const std::uint8_t codec = reader.u8();
  const std::uint64_t length = reader.u64();
  const base::ByteView salt = reader.raw(32);
  const base::ByteView sealed = reader.raw(reader.left());
  if (sealed.size() < crypto::kTagSize) refuse("is cut off");

  base::Bytes text(sealed.size() - crypto::kTagSize);
  const base::ByteView header = base::ByteView(*object).first(kHeaderSize);
  if (!key_of(context, salt)
           .open(crypto::Nonce{}, associated_data(context, name, header), sealed, text)) {
    refuse("does not authenticate: it was damaged, altered or moved");
  }
  if (stored_kind != static_cast<std::uint8_t>(kind)) refuse("is another kind of object");
  if (length > kMaxBodySize) refuse("has an impossible length");
  if (codec == kCodecNone) {
    if (length != text.size()) refuse("has a wrong length");
    return text;
  }
  if (codec != kCodecZstd) refuse("has an unknown codec");
  base::Bytes body(length);
  if (!Decompressor().decompress(text, body)) refuse("cannot be decompressed");
  return body;
}

void get_all_metadata(const Context& context, std::span<const std::string> names, MetadataKind kind,
                      const std::function<void(FetchedMetadata&)>& each) {
  const auto fetch = [&](FetchedMetadata& fetched) {
    try {
      fetched.body = get_metadata(context, fetched.name, kind);
    } catch (const Error& error) {
      if (!is_damage(error)) throw;
      fetched.damage = error;
    }
  };
  const auto threads = static_cast<std::size_t>(std::max(1, context.storage.requests_at_once()));
  const std::size_t at_once = threads == 1 ? 1 : 4 * threads;
  for (std::size_t done = 0; done < names.size(); done += at_once) {
    std::vector<FetchedMetadata> batch;
    for (const std::string& name : names.subspan(done, std::min(at_once, names.size() - done))) {
      batch.push_back({name, std::nullopt, std::nullopt});
    }
    if (batch.size() == 1) {
      fetch(batch.front());
    } else {
      base::share_out(batch.size(), static_cast<int>(std::min(threads, batch.size())), {},
                      [&] { return [&](std::size_t n) { fetch(batch[n]); }; });
    }
    for (FetchedMetadata& fetched : batch) each(fetched);
  }
}

}  // namespace holdfast::repository
