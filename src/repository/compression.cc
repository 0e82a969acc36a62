#include "repository/compression.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <new>

#include "repository/page_layout.h"

namespace holdfast::repository {
namespace {

constexpr int kMinPageSizeLog = 9;
constexpr int kMaxPageSizeLog = 16;

// `size` bytes of a buffer that only grows.
base::MutableByteView room_in(base::Bytes& buffer, std::size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return base::MutableByteView(buffer).first(size);
}

}  // namespace

struct Compressor::Context {
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> zstd{ZSTD_createCCtx()};
};

Compressor::Compressor(int level) : context_(std::make_unique<Context>()), level_(level) {
  if (!context_->zstd) throw std::bad_alloc();
}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;

std::optional<std::size_t> Compressor::compress(base::ByteView plain, base::MutableByteView out) {
  if (level_ == 0 || plain.size() < 2) return std::nullopt;
  // A gain of less than a 32nd is not worth the decompression.
  const std::size_t room = std::min(out.size(), plain.size() - plain.size() / 32 - 1);
  const std::size_t size =
      ZSTD_compressCCtx(context_->zstd.get(), out.data(), room, plain.data(), plain.size(), level_);
  if (ZSTD_isError(size)) return std::nullopt;  // no room: that is what does not compress
  return size;
}

std::optional<std::size_t> Compressor::compress_pages(base::ByteView pages, std::size_t page_size,
                                                      base::MutableByteView out) {
  if (level_ == 0 || out.empty()) return std::nullopt;
  const base::MutableByteView rearranged = room_in(rearranged_, pages.size());
  rearrange_pages(pages, page_size, rearranged);
  const std::optional<std::size_t> size = compress(rearranged, out.subspan(1));
  if (!size) return std::nullopt;
  out[0] = static_cast<std::uint8_t>(std::countr_zero(page_size));
  return 1 + *size;
}

struct Decompressor::Context {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> zstd{ZSTD_createDCtx()};
};

Decompressor::Decompressor() : context_(std::make_unique<Context>()) {
  if (!context_->zstd) throw std::bad_alloc();
}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor&&) noexcept = default;

bool Decompressor::decompress(base::ByteView packed, base::MutableByteView plain) {
  // ZSTD_decompressDCtx would accept several frames; the format has one.
  if (ZSTD_findFrameCompressedSize(packed.data(), packed.size()) != packed.size()) return false;
  const std::size_t size = ZSTD_decompressDCtx(context_->zstd.get(), plain.data(), plain.size(),
                                               packed.data(), packed.size());
  return !ZSTD_isError(size) && size == plain.size();
}

bool Decompressor::decompress_pages(base::ByteView packed, base::MutableByteView pages) {
  if (packed.empty() || packed[0] < kMinPageSizeLog || packed[0] > kMaxPageSizeLog) return false;
  const std::size_t page_size = std::size_t{1} << packed[0];
  if (pages.size() % page_size != 0) return false;
  const base::MutableByteView rearranged = room_in(rearranged_, pages.size());
  if (!decompress(packed.subspan(1), rearranged)) return false;
  restore_pages(rearranged, page_size, pages);
  return true;
}

}  // namespace holdfast::repository
