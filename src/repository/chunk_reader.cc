#include "repository/chunk_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <list>

#include "base/error.h"
#include "repository/chunk_hash.h"
#include "repository/compression.h"
#include "repository/pack_format.h"

namespace holdfast::repository {
namespace {

constexpr std::size_t kPacksKept = 64;
constexpr std::size_t kDirectoriesKept = 64;  // some 80 KiB each
// Read at once when a chunk follows the one before it in its pack.
constexpr std::size_t kReadAhead = 2 * 1024 * 1024;
// What several workers stored of one file stands in as many packs in turn: each is read ahead by
// itself.
constexpr std::size_t kWindows = 4;

// The few packs seen last, the newest first.
template <typename Value>
class LastUsed {
 public:
  explicit LastUsed(std::size_t capacity) : capacity_(capacity) {}

  template <typename Make>
  Value& get(std::uint32_t pack, Make&& make) {
    const auto place = std::find_if(items_.begin(), items_.end(),
                                    [&](const auto& item) { return item.first == pack; });
    if (place != items_.end()) {
      items_.splice(items_.begin(), items_, place);
    } else {
      items_.emplace_front(pack, make());
      if (items_.size() > capacity_) items_.pop_back();
    }
    return items_.front().second;
  }

 private:
  const std::size_t capacity_;
  std::list<std::pair<std::uint32_t, Value>> items_;
};

// A stretch of one pack in memory.
struct Window {
  std::uint32_t pack = UINT32_MAX;
  std::uint64_t begin = 0;
  std::size_t size = 0;
  std::uint64_t used = 0;  // when it was last, counted in reads
  base::AlignedBuffer buffer;

  std::uint64_t end() const { return begin + size; }
  bool holds(std::uint32_t pack_number, std::uint64_t offset, std::size_t length) const {
    return pack == pack_number && offset >= begin && offset + length <= begin + size;
  }
};

struct OpenPack {
  crypto::Aead aead;
  ChunkAssociatedData associated;
};

}  // namespace

struct ChunkReader::Impl {
  Impl(const Context& context_in, const Index& index_in)
      : context(context_in), index(index_in), hasher(context_in.keyring.identity) {}

  ChunkLocation locate(const ChunkId& id) const;
  base::ByteView fetch(std::uint32_t pack, std::uint64_t offset, std::size_t length);
  void fill(Window& window, std::uint32_t pack, std::uint64_t offset, std::size_t wanted);
  OpenPack& open_pack(std::uint32_t pack);
  const PackDirectory& directory(std::uint32_t pack);
  bool unpack(Codec codec, base::ByteView packed_view, base::MutableByteView plain);
  std::size_t read(const ChunkId& id, const ChunkLocation& location, base::MutableByteView out);
  void check_id(const ChunkId& id, const ChunkLocation& location, base::ByteView plain);
  [[noreturn]] void throw_damaged(const ChunkId& id, const ChunkLocation& location,
                                  std::string_view problem) const;

  const Context& context;
  const Index& index;
  ChunkHasher hasher;
  Decompressor decompressor;
  LastUsed<OpenPack> packs{kPacksKept};
  LastUsed<PackDirectory> directories{kDirectoriesKept};
  std::array<Window, kWindows> windows;
  std::uint64_t reads = 0;
  base::Bytes packed;  // a chunk as compressed
};

ChunkLocation ChunkReader::Impl::locate(const ChunkId& id) const {
  if (id.is_zero_range()) {
    throw base::Error(base::ErrorKind::kFailed,
                      "a mistake in the program: a range of zero bytes was read as a chunk");
  }
  if (const std::optional<ChunkLocation> location = index.find(id)) return *location;
  throw base::Error(base::ErrorKind::kDamaged,
                    fmt::format("chunk {} is in no pack that the repository's index knows",
                                base::to_hex(id.bytes)));
}

void ChunkReader::Impl::throw_damaged(const ChunkId& id, const ChunkLocation& location,
                                      std::string_view problem) const {
  throw_damaged_pack(index.pack(location.pack).id,
                     fmt::format("chunk {}: {}", base::to_hex(id.bytes), problem));
}

// `length` bytes of the pack, fewer only where it ends before. Good until the next call.
base::ByteView ChunkReader::Impl::fetch(std::uint32_t pack, std::uint64_t offset,
                                        std::size_t length) {
  const auto find = [&](auto&& fits) { return std::find_if(windows.begin(), windows.end(), fits); };
  auto window = find([&](const Window& w) { return w.holds(pack, offset, length); });
  if (window == windows.end()) {
    window = find([&](const Window& w) { return w.pack == pack && w.end() == offset; });
    const bool follows = window != windows.end();
    if (!follows) {
      window = std::min_element(windows.begin(), windows.end(),
                                [](const auto& a, const auto& b) { return a.used < b.used; });
    }
    fill(*window, pack, offset, follows ? std::max(length, kReadAhead) : length);
  }
  window->used = ++reads;
  const std::size_t skip = offset - window->begin;
  return {window->buffer.data() + skip, std::min(length, window->size - skip)};
}

void ChunkReader::Impl::fill(Window& window, std::uint32_t pack, std::uint64_t offset,
                             std::size_t wanted) {
  const PackEntry& entry = index.pack(pack);
  if (window.buffer.capacity() < wanted) window.buffer = base::AlignedBuffer(wanted);
  window.pack = UINT32_MAX;
  const std::optional<std::size_t> size =
      context.storage.read(pack_name(entry.id), offset, window.buffer.span().first(wanted));
  if (!size) throw_damaged_pack(entry.id, "is missing");
  window.pack = pack;
  window.begin = offset;
  window.size = *size;
}

OpenPack& ChunkReader::Impl::open_pack(std::uint32_t pack) {
  return packs.get(pack, [&] {
    const PackEntry& entry = index.pack(pack);
    const base::ByteView bytes = fetch(pack, 0, kPackHeaderSize);
    if (bytes.size() != kPackHeaderSize) throw_damaged_pack(entry.id, "is shorter than it was");
    PackHeader header;
    std::copy(bytes.begin(), bytes.end(), header.begin());
    return OpenPack{crypto::Aead(open_pack_header(context, entry.id, entry.pack_class, header)),
                    ChunkAssociatedData(context.keyring.repository, entry.id)};
  });
}

const PackDirectory& ChunkReader::Impl::directory(std::uint32_t pack) {
  return directories.get(pack, [&] {
    const PackEntry& entry = index.pack(pack);
    return read_pack_directory(context, entry.id, entry.size_bytes);
  });
}

// False where `packed` is not what the codec makes of that many bytes. Codec none: it stands there
// already.
bool ChunkReader::Impl::unpack(Codec codec, base::ByteView packed_view,
                               base::MutableByteView plain) {
  switch (codec) {
    case Codec::kNone:
      return true;
    case Codec::kZstd:
      return decompressor.decompress(packed_view, plain);
    case Codec::kZstdPages:
      return decompressor.decompress_pages(packed_view, plain);
  }
  return false;
}

std::size_t ChunkReader::Impl::read(const ChunkId& id, const ChunkLocation& location,
                                    base::MutableByteView out) {
  if (out.size() < location.length) {
    throw base::Error(base::ErrorKind::kFailed,
                      "a mistake in the program: no room for a chunk's content");
  }
  const base::MutableByteView plain = out.first(location.length);
  const auto task = [&] { return fmt::format("while reading chunk {}", base::to_hex(id.bytes)); };
  OpenPack& pack =
      base::with_context(task, [&]() -> OpenPack& { return open_pack(location.pack); });
  const base::ByteView sealed = base::with_context(
      task, [&] { return fetch(location.pack, location.offset, location.stored_length); });
  if (sealed.size() != location.stored_length) {
    throw_damaged(id, location, "is missing: the pack is shorter than it was");
  }
  packed.resize(std::max<std::size_t>(packed.size(), location.stored_length));
  const base::MutableByteView opened =
      location.codec == Codec::kNone
          ? plain
          : base::MutableByteView(packed).first(location.stored_length - crypto::kTagSize);
  if (!pack.aead.open(crypto::counter_nonce(location.number),
                      pack.associated.of(id, location.codec, location.length), sealed, opened)) {
    throw_damaged(id, location, "does not authenticate");
  }
  if (!unpack(location.codec, opened, plain)) {
    throw_damaged(id, location, "does not unpack to what was stored");
  }
  return location.length;
}

void ChunkReader::Impl::check_id(const ChunkId& id, const ChunkLocation& location,
                                 base::ByteView plain) {
  const PackDirectory& pack = directory(location.pack);
  if (location.number >= pack.contents.chunks.size() ||
      pack.contents.chunks[location.number].id != id ||
      pack.contents.chunks[location.number].kind != location.kind) {
    throw_damaged(id, location, "the pack's directory does not agree with the index");
  }
  const PackDirectory::Pages& pages = pack.pages[location.number];
  const ChunkId actual = location.kind == ChunkKind::kPages
                             ? hasher.pages_id(plain, pages.page_size)
                             : hasher.bytes_id(plain);
  if (actual != id) throw_damaged(id, location, "its content is not what its id says");
  for (std::size_t i = 0; i < pages.hashes.size(); ++i) {
    if (pages.hashes[i] != short_page_hash(hasher.page_hashes()[i])) {
      throw_damaged(id, location, "its page hashes are not those of its pages");
    }
  }
}

ChunkReader::ChunkReader(const Context& context, const Index& index)
    : impl_(std::make_unique<Impl>(context, index)) {}
ChunkReader::~ChunkReader() = default;
ChunkReader::ChunkReader(ChunkReader&&) noexcept = default;

std::uint32_t ChunkReader::length(const ChunkId& id) const { return impl_->locate(id).length; }

std::optional<std::uint32_t> ChunkReader::find_length(const ChunkId& id) const {
  const std::optional<ChunkLocation> location = impl_->index.find(id);
  if (!location) return std::nullopt;
  return location->length;
}

std::size_t ChunkReader::read(const ChunkId& id, base::MutableByteView out) {
  return impl_->read(id, impl_->locate(id), out);
}

base::Bytes ChunkReader::read(const ChunkId& id) {
  const ChunkLocation location = impl_->locate(id);
  base::Bytes out(location.length);
  impl_->read(id, location, out);
  return out;
}

std::size_t ChunkReader::read_and_check_id(const ChunkId& id, base::MutableByteView out) {
  const ChunkLocation location = impl_->locate(id);
  const std::size_t size = impl_->read(id, location, out);
  impl_->check_id(id, location, out.first(size));
  return size;
}

std::vector<std::uint64_t> ChunkReader::page_hashes(const ChunkId& id) {
  const ChunkLocation location = impl_->locate(id);
  const PackDirectory& pack = impl_->directory(location.pack);
  if (location.number >= pack.contents.chunks.size() ||
      pack.contents.chunks[location.number].id != id) {
    impl_->throw_damaged(id, location, "the pack's directory does not agree with the index");
  }
  return pack.pages[location.number].hashes;
}

}  // namespace holdfast::repository
