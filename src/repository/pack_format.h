// A pack's parts: header, chunks' associated data, directory, footer. "Packs" in docs/format.md.
// Internal to this folder.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "crypto/aead.h"
#include "repository/index.h"

namespace holdfast::repository {

inline constexpr std::size_t kPackHeaderSize = 121;
inline constexpr std::size_t kPackFooterSize = 52;
inline constexpr std::size_t kMaxPackChunks = 65'536;
inline constexpr std::size_t kMaxPackSize = 64 * 1024 * 1024;
inline constexpr std::size_t kMaxChunkSize = 4 * 1024 * 1024;       // plain
inline constexpr std::size_t kMaxDirectorySize = 64 * 1024 * 1024;  // plain
inline constexpr std::size_t kMinPageSize = 512;
inline constexpr std::size_t kMaxPageSize = 65'536;

// What storage is to know of a pack: data is read by restores alone.
storage::Use use_of(PackClass pack_class);

using PackHeader = std::array<std::uint8_t, kPackHeaderSize>;

// A new pack's header, with a new key in it.
struct NewPackHeader {
  PackHeader bytes{};
  crypto::AeadKey key;
};
NewPackHeader make_pack_header(const Context& context, const PackId& id, PackClass pack_class);

// The key of the pack's chunks. kDamaged unless it is this pack's header and of this class;
// kRefused where the credential is write-only and the pack holds data.
crypto::AeadKey open_pack_header(const Context& context, const PackId& id, PackClass pack_class,
                                 const PackHeader& header);

// The key to which a pack of data is sealed.
crypto::PublicKey recipient_of(const PackHeader& header);

// What a chunk is sealed with beside its key: filled anew for each chunk of the pack.
class ChunkAssociatedData {
 public:
  ChunkAssociatedData(const RepositoryId& repository, const PackId& pack);
  base::ByteView of(const ChunkId& id, Codec codec, std::uint32_t length);

 private:
  std::array<std::uint8_t, 16 + 16 + 32 + 1 + 4> bytes_{};
};

// The part of a directory's or an index's entry that both have. Reading checks the limits.
void write_chunk_entry(base::ByteWriter& out, const Index::PackContents::Chunk& chunk);
Index::PackContents::Chunk read_chunk_entry(base::ByteReader& in, std::string_view what);

struct PackDirectory {
  struct Pages {
    std::uint32_t page_size = 0;          // 0: a chunk of bytes
    std::vector<std::uint64_t> hashes{};  // the first 8 bytes of each page's hash
  };
  PackHeader header{};
  Index::PackContents contents;
  std::vector<Pages> pages;  // one for each chunk
};

// The end of a pack: the sealed directory and the footer.
std::size_t directory_tail_bound(std::size_t body_size);
// `body` as the format has it. Returns the size written to `out`, which has room for the bound.
std::size_t write_directory_tail(const Context& context, const PackId& id, const PackHeader& header,
                                 base::ByteView body, base::MutableByteView out);

// Reads header, footer and directory from storage. `size_bytes`: the size of the object.
// kDamaged, naming the pack, if it is missing or anything in it is not right.
PackDirectory read_pack_directory(const Context& context, const PackId& id,
                                  std::uint64_t size_bytes);
// Checks a plain body. `chunks_end`: where the directory begins in the pack.
void decode_directory(base::ByteView body, std::uint64_t chunks_end, PackDirectory& directory);

// What tells of one object, not of the storage: kDamaged, or the disk cannot read it.
bool is_damage(const base::Error& error);
[[noreturn]] void throw_damaged_pack(const PackId& id, std::string_view problem);

}  // namespace holdfast::repository
