#include "repository/pack_format.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "crypto/seal.h"
#include "repository/compression.h"

namespace holdfast::repository {
namespace {

constexpr std::array<std::uint8_t, 8> kHeaderMagic = {'H', 'F', 'P', 'A', 'C', 'K', 0, 1};
constexpr std::array<std::uint8_t, 8> kFooterMagic = {'H', 'F', 'P', 'A', 'C', 'K', 'E', 1};
constexpr std::size_t kSealedKeySize = crypto::AeadKey::kSize + crypto::kSealOverhead;
constexpr std::string_view kSealContext = "pack key";
constexpr std::string_view kMetadataKeyInfo = "holdfast metadata pack v1";
constexpr std::string_view kDirectoryKeyInfo = "holdfast pack directory v1";
constexpr int kDirectoryLevel = 3;                     // mostly hashes: more would be in vain
constexpr std::size_t kTailGuess = 96 * 1024;          // holds most directories: one read less
constexpr std::size_t kTailGuessFarAway = 512 * 1024;  // where a read takes as long as so much

// The parts of a header.
constexpr std::size_t kClassAt = 8;
constexpr std::size_t kRecipientAt = 9;
constexpr std::size_t kSealedKeyAt = 41;

base::Bytes joined(std::initializer_list<base::ByteView> parts) {
  base::ByteWriter out;
  for (const base::ByteView part : parts) out.raw(part);
  return out.take();
}

// Either half of sealing a directory needs this key and this associated data.
struct DirectorySeal {
  crypto::Aead aead;
  base::Bytes associated;
};

DirectorySeal directory_seal(const Context& context, const PackId& id, const PackHeader& header,
                             base::ByteView salt) {
  return {crypto::Aead(crypto::hkdf_key<crypto::AeadKey>(salt, context.keyring.metadata.bytes(),
                                                         kDirectoryKeyInfo)),
          joined({context.keyring.repository.bytes, id.bytes, header})};
}

crypto::AeadKey open_data_key(const Context& context, const PackId& id, base::ByteView recipient,
                              base::ByteView sealed) {
  crypto::PublicKey public_key;
  std::copy(recipient.begin(), recipient.end(), public_key.begin());
  const Keyring& keyring = context.keyring;
  const crypto::ExchangeKey* secret = keyring.secret_for(public_key);
  if (secret == nullptr) {
    for (const DataKeyPair& pair : keyring.data) {
      if (pair.public_key != public_key) continue;
      throw base::Error(base::ErrorKind::kRefused,
                        "this credential is write-only: it cannot read what is backed up",
                        "Use the repository's full key file or passphrase.");
    }
    throw_damaged_pack(id, "its key is sealed to none of the repository's keys");
  }
  std::optional<base::Bytes> key = crypto::open_sealed(
      *secret, kSealContext, joined({keyring.repository.bytes, id.bytes}), sealed);
  if (!key || key->size() != crypto::AeadKey::kSize) {
    throw_damaged_pack(id, "its key does not authenticate");
  }
  const crypto::AeadKey result(base::ByteView(*key).first<crypto::AeadKey::kSize>());
  crypto::wipe(*key);
  return result;
}

}  // namespace

storage::Use use_of(PackClass pack_class) {
  return pack_class == PackClass::kData ? storage::Use::kBulk : storage::Use::kMetadata;
}

bool is_damage(const base::Error& error) {
  return error.kind() == base::ErrorKind::kDamaged || error.system_errno() == EIO;
}

void throw_damaged_pack(const PackId& id, std::string_view problem) {
  throw base::Error(base::ErrorKind::kDamaged, fmt::format("{}: {}", pack_name(id), problem));
}

NewPackHeader make_pack_header(const Context& context, const PackId& id, PackClass pack_class) {
  NewPackHeader header;
  base::ByteWriter out;
  out.raw(kHeaderMagic);
  out.u8(static_cast<std::uint8_t>(pack_class));
  if (pack_class == PackClass::kData) {
    const Keyring& keyring = context.keyring;
    context.random.fill(header.key.writable());
    out.raw(keyring.writing_key());
    out.raw(crypto::seal_to(keyring.writing_key(), kSealContext,
                            joined({keyring.repository.bytes, id.bytes}), header.key.bytes(),
                            context.random));
  } else {
    std::array<std::uint8_t, 32> salt;
    context.random.fill(salt);
    out.raw(salt);
    out.raw(std::array<std::uint8_t, kSealedKeySize>{});
    header.key =
        crypto::hkdf_key<crypto::AeadKey>(salt, context.keyring.metadata.bytes(), kMetadataKeyInfo);
  }
  std::copy_n(out.view().begin(), kPackHeaderSize, header.bytes.begin());
  return header;
}

crypto::AeadKey open_pack_header(const Context& context, const PackId& id, PackClass pack_class,
                                 const PackHeader& header) {
  const base::ByteView view = header;
  if (!std::equal(kHeaderMagic.begin(), kHeaderMagic.end(), view.begin())) {
    throw_damaged_pack(id, "does not begin as a pack does");
  }
  if (view[kClassAt] != static_cast<std::uint8_t>(pack_class)) {
    throw_damaged_pack(id, "is not of the class that the index says");
  }
  const base::ByteView recipient = view.subspan(kRecipientAt, kSealedKeyAt - kRecipientAt);
  const base::ByteView sealed = view.subspan(kSealedKeyAt);
  if (pack_class == PackClass::kData) return open_data_key(context, id, recipient, sealed);
  return crypto::hkdf_key<crypto::AeadKey>(recipient, context.keyring.metadata.bytes(),
                                           kMetadataKeyInfo);
}

crypto::PublicKey recipient_of(const PackHeader& header) {
  crypto::PublicKey key;
  std::copy_n(header.begin() + kRecipientAt, key.size(), key.begin());
  return key;
}

ChunkAssociatedData::ChunkAssociatedData(const RepositoryId& repository, const PackId& pack) {
  std::copy(repository.bytes.begin(), repository.bytes.end(), bytes_.begin());
  std::copy(pack.bytes.begin(), pack.bytes.end(), bytes_.begin() + 16);
}

base::ByteView ChunkAssociatedData::of(const ChunkId& id, Codec codec, std::uint32_t length) {
  std::uint8_t* out = std::copy(id.bytes.begin(), id.bytes.end(), bytes_.data() + 32);
  *out++ = static_cast<std::uint8_t>(codec);
  for (int shift = 0; shift < 32; shift += 8) *out++ = static_cast<std::uint8_t>(length >> shift);
  return bytes_;
}

void write_chunk_entry(base::ByteWriter& out, const Index::PackContents::Chunk& chunk) {
  out.raw(chunk.id.bytes);
  out.u8(static_cast<std::uint8_t>(chunk.kind));
  out.u8(static_cast<std::uint8_t>(chunk.codec));
  out.varint(chunk.stored_length);
  out.varint(chunk.length);
}

Index::PackContents::Chunk read_chunk_entry(base::ByteReader& in, std::string_view what) {
  const auto refuse = [&](std::string_view problem) {
    throw base::Error(base::ErrorKind::kDamaged, fmt::format("{}: {}", what, problem));
  };
  Index::PackContents::Chunk chunk;
  const base::ByteView id = in.raw(chunk.id.bytes.size());
  std::copy(id.begin(), id.end(), chunk.id.bytes.begin());
  const std::uint8_t kind = in.u8();
  const std::uint8_t codec = in.u8();
  const std::uint64_t stored_length = in.varint();
  const std::uint64_t length = in.varint();
  if (chunk.id.is_zero_range()) refuse("a stored chunk has the id of a range of zero bytes");
  if (kind > static_cast<std::uint8_t>(ChunkKind::kPages)) refuse("a chunk is of an unknown kind");
  if (codec > static_cast<std::uint8_t>(Codec::kZstdPages)) refuse("a chunk has an unknown codec");
  if (length == 0 || length > kMaxChunkSize) refuse("a chunk's length is out of bounds");
  // What does not compress is stored as it is, so nothing grows by more than its tag.
  if (stored_length <= crypto::kTagSize || stored_length > length + crypto::kTagSize) {
    refuse("a chunk's stored length is out of bounds");
  }
  chunk.kind = static_cast<ChunkKind>(kind);
  chunk.codec = static_cast<Codec>(codec);
  if (chunk.codec == Codec::kNone && stored_length != length + crypto::kTagSize) {
    refuse("a chunk's lengths do not agree");
  }
  if (chunk.codec == Codec::kZstdPages && chunk.kind != ChunkKind::kPages) {
    refuse("a chunk of bytes has the codec of pages");
  }
  chunk.stored_length = static_cast<std::uint32_t>(stored_length);
  chunk.length = static_cast<std::uint32_t>(length);
  return chunk;
}

std::size_t directory_tail_bound(std::size_t body_size) {
  return ZSTD_compressBound(body_size) + crypto::kTagSize + kPackFooterSize;
}

std::size_t write_directory_tail(const Context& context, const PackId& id, const PackHeader& header,
                                 base::ByteView body, base::MutableByteView out) {
  const std::size_t packed =
      ZSTD_compress(out.data(), out.size(), body.data(), body.size(), kDirectoryLevel);
  if (ZSTD_isError(packed)) {
    throw base::Error(
        base::ErrorKind::kFailed,
        fmt::format("cannot compress a pack's directory: {}", ZSTD_getErrorName(packed)));
  }
  std::array<std::uint8_t, 32> salt;
  context.random.fill(salt);
  DirectorySeal seal = directory_seal(context, id, header, salt);
  const std::size_t sealed = packed + crypto::kTagSize;
  seal.aead.seal(crypto::counter_nonce(0), seal.associated, out.first(packed), out.first(sealed));

  base::ByteWriter footer;
  footer.u64(body.size());
  footer.u32(static_cast<std::uint32_t>(sealed));
  footer.raw(salt);
  footer.raw(kFooterMagic);
  std::copy(footer.view().begin(), footer.view().end(), out.data() + sealed);
  return sealed + kPackFooterSize;
}

void decode_directory(base::ByteView body, std::uint64_t chunks_end, PackDirectory& directory) {
  const std::string what = pack_name(directory.contents.pack.id) + ": directory";
  const auto refuse = [&](std::string_view problem) {
    throw base::Error(base::ErrorKind::kDamaged, fmt::format("{}: {}", what, problem));
  };
  base::ByteReader in(body, what);
  const std::size_t count = in.count(32 + 1 + 1 + 1 + 1);
  if (count > kMaxPackChunks) refuse("too many chunks");
  directory.contents.chunks.reserve(count);
  directory.pages.reserve(count);
  std::uint64_t offset = kPackHeaderSize;
  for (std::size_t i = 0; i < count; ++i) {
    const Index::PackContents::Chunk& chunk =
        directory.contents.chunks.emplace_back(read_chunk_entry(in, what));
    PackDirectory::Pages& pages = directory.pages.emplace_back();
    offset += chunk.stored_length;
    if (chunk.kind != ChunkKind::kPages) continue;
    const std::uint64_t page_size = in.varint();
    if (page_size < kMinPageSize || page_size > kMaxPageSize ||
        (page_size & (page_size - 1)) != 0 || chunk.length % page_size != 0) {
      refuse("a page size is out of bounds");
    }
    pages.page_size = static_cast<std::uint32_t>(page_size);
    base::ByteReader hashes(in.raw(chunk.length / page_size * 8), what);
    pages.hashes.reserve(chunk.length / page_size);
    while (hashes.left() > 0) pages.hashes.push_back(hashes.u64());
  }
  in.expect_end();
  if (offset != chunks_end) refuse("the chunks' lengths do not add up");
}

PackDirectory read_pack_directory(const Context& context, const PackId& id,
                                  std::uint64_t size_bytes) {
  if (size_bytes < kPackHeaderSize + crypto::kTagSize + kPackFooterSize) {
    throw_damaged_pack(id, "is too short for a pack");
  }
  if (size_bytes > kMaxPackSize) throw_damaged_pack(id, "is too long for a pack");
  const std::string name = pack_name(id);
  const auto read = [&](std::uint64_t offset, base::MutableByteView buffer) {
    const std::optional<std::size_t> size = context.storage.read(name, offset, buffer);
    if (!size) throw_damaged_pack(id, "is missing");
    if (*size != buffer.size()) throw_damaged_pack(id, "is shorter than it was");
  };
  const bool far_away = context.storage.requests_at_once() > 1;
  PackDirectory directory;
  base::Bytes tail(std::min<std::uint64_t>(size_bytes - kPackHeaderSize,
                                           far_away ? kTailGuessFarAway : kTailGuess));
  base::share_out(2, far_away ? 2 : 1, {}, [&] {
    return [&](std::size_t n) {
      if (n == 0) {
        read(0, directory.header);
      } else {
        read(size_bytes - tail.size(), tail);
      }
    };
  });

  base::ByteReader footer(base::ByteView(tail).last(kPackFooterSize), name);
  const std::uint64_t body_size = footer.u64();
  const std::size_t sealed_size = footer.u32();
  const base::ByteView salt = footer.raw(32);
  if (!std::equal(kFooterMagic.begin(), kFooterMagic.end(), footer.raw(8).begin())) {
    throw_damaged_pack(id, "does not end as a pack does: it was cut or written to");
  }
  if (sealed_size < crypto::kTagSize ||
      sealed_size > size_bytes - kPackHeaderSize - kPackFooterSize ||
      body_size > kMaxDirectorySize) {
    throw_damaged_pack(id, "the length of its directory is out of bounds");
  }
  DirectorySeal seal = directory_seal(context, id, directory.header, salt);
  const std::uint64_t chunks_end = size_bytes - kPackFooterSize - sealed_size;
  if (tail.size() < sealed_size + kPackFooterSize) {
    tail.resize(sealed_size + kPackFooterSize);
    read(chunks_end, tail);
  }
  const base::ByteView sealed =
      base::ByteView(tail).last(sealed_size + kPackFooterSize).first(sealed_size);
  base::Bytes packed(sealed_size - crypto::kTagSize);
  if (!seal.aead.open(crypto::counter_nonce(0), seal.associated, sealed, packed)) {
    throw_damaged_pack(id, "its directory does not authenticate");
  }
  const std::uint8_t pack_class = directory.header[kClassAt];
  base::Bytes body(body_size);
  if (!std::equal(kHeaderMagic.begin(), kHeaderMagic.end(), directory.header.begin()) ||
      pack_class < static_cast<std::uint8_t>(PackClass::kData) ||
      pack_class > static_cast<std::uint8_t>(PackClass::kMetadata) ||
      !Decompressor().decompress(packed, body)) {
    throw_damaged_pack(id, "its directory is not in the format");
  }
  directory.contents.pack.id = id;
  directory.contents.pack.pack_class = static_cast<PackClass>(pack_class);
  directory.contents.pack.size_bytes = size_bytes;
  decode_directory(body, chunks_end, directory);
  return directory;
}

}  // namespace holdfast::repository
