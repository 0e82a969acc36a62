#include "repository/compression.h"

#include <zstd.h>

#include <algorithm>
#include <new>

namespace holdfast::repository {

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

}  // namespace holdfast::repository
