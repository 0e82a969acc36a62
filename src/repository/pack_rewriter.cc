#include "repository/pack_rewriter.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kPackSize = 16 * 1024 * 1024;
constexpr std::size_t kPacksPerIndex = 256;

}  // namespace

PackRewriter::PackRewriter(const Context& context, const Index& index)
    : context_(context), index_(index) {}

void PackRewriter::copy(std::uint32_t pack, std::span<const std::uint32_t> chunks) {
  const PackEntry& entry = index_.pack(pack);
  const PackDirectory directory = read_pack_directory(context_, entry.id, entry.size_bytes);
  crypto::Aead aead(open_pack_header(context_, entry.id, entry.pack_class, directory.header));
  ChunkAssociatedData associated(context_.keyring.repository, entry.id);
  std::optional<PackBuilder>& open = open_[entry.pack_class == PackClass::kMetadata ? 1 : 0];

  std::uint64_t offset = kPackHeaderSize;
  base::Bytes sealed;
  for (std::uint32_t number = 0; number < directory.contents.chunks.size(); ++number) {
    const Index::PackContents::Chunk& chunk = directory.contents.chunks[number];
    const std::uint64_t at = std::exchange(offset, offset + chunk.stored_length);
    if (chunks.empty() || chunks.front() != number) continue;
    chunks = chunks.subspan(1);
    sealed.resize(chunk.stored_length);
    if (context_.storage.read(pack_name(entry.id), at, sealed) != sealed.size()) {
      throw_damaged_pack(entry.id, "is shorter than it was");
    }
    const base::MutableByteView packed =
        base::MutableByteView(sealed).first(sealed.size() - crypto::kTagSize);
    if (!aead.open(crypto::counter_nonce(number),
                   associated.of(chunk.id, chunk.codec, chunk.length), sealed, packed)) {
      throw_damaged_pack(
          entry.id, fmt::format("chunk {} does not authenticate", base::to_hex(chunk.id.bytes)));
    }
    const PackDirectory::Pages& pages = directory.pages[number];
    if (open && !open->fits(packed.size(), pages.hashes.size())) put(open);
    if (!open) {
      open = PackBuilder::start(context_, entry.pack_class,
                                base::AlignedBuffer(PackBuilder::buffer_size(kPackSize)));
    }
    open->add_packed(chunk, pages, packed);
    if (open->size_bytes() >= kPackSize) put(open);
  }
  if (!chunks.empty()) throw_damaged_pack(entry.id, "its directory does not agree with the index");
}

void PackRewriter::put(std::optional<PackBuilder>& open) {
  FinishedPack pack = std::move(*open).finish();
  open.reset();
  const std::string name = pack_name(pack.contents.pack.id);
  if (context_.storage.put(name, pack.view(), use_of(pack.contents.pack.pack_class)) !=
      storage::PutResult::kCreated) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("{}: the name is taken, though it is random", name));
  }
  bytes_put_ += pack.contents.pack.size_bytes;
  not_indexed_.push_back(std::move(pack.contents));
  if (not_indexed_.size() >= kPacksPerIndex) put_index();
}

void PackRewriter::put_index() {
  repository::put_index(context_, not_indexed_);
  not_indexed_.clear();
}

void PackRewriter::finish() {
  for (std::optional<PackBuilder>& open : open_) {
    if (open) put(open);
  }
  if (!not_indexed_.empty()) put_index();
}

}  // namespace holdfast::repository
