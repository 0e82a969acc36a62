#include "repository/pack_builder.h"

#include <algorithm>

#include "base/error.h"
#include "repository/chunk_hash.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::size_t kEntryBound = 32 + 1 + 1 + 4 + 4 + 3;  // without its page hashes
constexpr std::size_t kCountBound = 3;

// Less is not worth the time that unpacking takes in a restore.
std::size_t worthwhile_size(std::size_t plain_length) {
  return plain_length - std::max<std::size_t>(1, plain_length / 32);
}

}  // namespace

PackBuilder PackBuilder::start(const Context& context, PackClass pack_class,
                               base::AlignedBuffer buffer) {
  const PackId id = PackId::make(context.random);
  return {context, id, pack_class, make_pack_header(context, id, pack_class), std::move(buffer)};
}

PackBuilder::PackBuilder(const Context& context, const PackId& id, PackClass pack_class,
                         const NewPackHeader& header, base::AlignedBuffer buffer)
    : context_(&context),
      buffer_(std::move(buffer)),
      header_(header.bytes),
      aead_(header.key),
      associated_(context.keyring.repository, id),
      end_(kPackHeaderSize) {
  contents_.pack.id = id;
  contents_.pack.pack_class = pack_class;
  std::copy(header_.begin(), header_.end(), buffer_.data());
}

std::size_t PackBuilder::buffer_size(std::size_t pack_size) {
  return std::clamp(pack_size + kMiB, kMaxChunkSize + kMiB, kMaxPackSize);
}

bool PackBuilder::fits(std::size_t plain_length, std::size_t page_count) const {
  const std::size_t body = kCountBound + directory_.size() + kEntryBound + 8 * page_count;
  return contents_.chunks.size() < kMaxPackChunks &&
         end_ + plain_length + crypto::kTagSize + directory_tail_bound(body) <= buffer_.capacity();
}

void PackBuilder::add(const Input& input, Compressor& compressor) {
  const base::MutableByteView place =
      buffer_.span().subspan(end_, worthwhile_size(input.plain.size()));
  const bool paged = input.page_size != 0;
  const std::optional<std::size_t> packed =
      paged ? compressor.compress_pages(input.plain, input.page_size, place)
            : compressor.compress(input.plain, place);

  Index::PackContents::Chunk chunk;
  chunk.id = input.id;
  chunk.kind = paged ? ChunkKind::kPages : ChunkKind::kBytes;
  if (packed) chunk.codec = paged ? Codec::kZstdPages : Codec::kZstd;
  chunk.length = static_cast<std::uint32_t>(input.plain.size());
  chunk.stored_length =
      static_cast<std::uint32_t>(packed.value_or(input.plain.size()) + crypto::kTagSize);

  write_chunk_entry(directory_, chunk);
  if (paged) directory_.varint(input.page_size);
  for (const crypto::Digest& hash : input.page_hashes) directory_.u64(short_page_hash(hash));
  append(chunk, packed ? place.first(*packed) : input.plain);
}

void PackBuilder::add_packed(const Index::PackContents::Chunk& chunk,
                             const PackDirectory::Pages& pages, base::ByteView packed) {
  write_chunk_entry(directory_, chunk);
  if (chunk.kind == ChunkKind::kPages) directory_.varint(pages.page_size);
  for (const std::uint64_t hash : pages.hashes) directory_.u64(hash);
  append(chunk, packed);
}

void PackBuilder::append(const Index::PackContents::Chunk& chunk, base::ByteView packed) {
  const auto number = static_cast<std::uint32_t>(contents_.chunks.size());
  aead_.seal(crypto::counter_nonce(number), associated_.of(chunk.id, chunk.codec, chunk.length),
             packed, buffer_.span().subspan(end_, chunk.stored_length));
  contents_.chunks.push_back(chunk);
  end_ += chunk.stored_length;
}

bool PackBuilder::take_over(PackBuilder& other) {
  const std::size_t body = kCountBound + directory_.size() + other.directory_.size();
  if (contents_.chunks.size() + other.contents_.chunks.size() > kMaxPackChunks ||
      end_ + other.end_ + directory_tail_bound(body) > buffer_.capacity()) {
    return false;
  }
  std::size_t offset = kPackHeaderSize;
  std::uint32_t number = 0;
  for (const Index::PackContents::Chunk& chunk : other.contents_.chunks) {
    const base::MutableByteView sealed = other.buffer_.span().subspan(offset, chunk.stored_length);
    const base::MutableByteView packed = sealed.first(chunk.stored_length - crypto::kTagSize);
    if (!other.aead_.open(crypto::counter_nonce(number++),
                          other.associated_.of(chunk.id, chunk.codec, chunk.length), sealed,
                          packed)) {
      throw base::Error(base::ErrorKind::kFailed,
                        "a pack in memory does not authenticate: is the memory faulty?");
    }
    append(chunk, packed);
    offset += chunk.stored_length;
  }
  directory_.raw(other.directory_.view());
  return true;
}

FinishedPack PackBuilder::finish() && {
  base::ByteWriter body;
  body.varint(contents_.chunks.size());
  body.raw(directory_.view());
  end_ += write_directory_tail(*context_, contents_.pack.id, header_, body.view(),
                               buffer_.span().subspan(end_));
  contents_.pack.size_bytes = end_;
  // Storage may write whole blocks and cut the rest off: nothing of what stood there before goes
  // along.
  const std::size_t tail = std::min(buffer_.capacity() - end_, base::AlignedBuffer::kAlignment);
  std::fill_n(buffer_.data() + end_, tail, std::uint8_t{0});
  return {std::move(contents_), std::move(buffer_)};
}

}  // namespace holdfast::repository
