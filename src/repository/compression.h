// zstd with contexts that are kept from one piece to the next. One of each per thread.
#pragma once

#include <memory>
#include <optional>

#include "base/bytes.h"

namespace holdfast::repository {

class Compressor {
 public:
  // zstd's level; 0: nothing is compressed.
  explicit Compressor(int level);
  ~Compressor();
  Compressor(Compressor&&) noexcept;

  // Writes the compressed form to `out` and gives its size; nullopt (and nothing of use in `out`)
  // where it would not fit or not be clearly smaller than `plain`: store the piece as it is then.
  std::optional<std::size_t> compress(base::ByteView plain, base::MutableByteView out);
  // The same for whole pages of a size that is a power of two, in an order that suits them:
  // codec 2.
  std::optional<std::size_t> compress_pages(base::ByteView pages, std::size_t page_size,
                                            base::MutableByteView out);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  int level_;
  base::Bytes rearranged_;  // the largest chunk of pages so far
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(Decompressor&&) noexcept;

  // False unless `packed` is one whole frame that gives exactly plain.size() bytes.
  [[nodiscard]] bool decompress(base::ByteView packed, base::MutableByteView plain);
  // False unless `packed` is codec 2 and gives exactly pages.size() bytes.
  [[nodiscard]] bool decompress_pages(base::ByteView packed, base::MutableByteView pages);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  base::Bytes rearranged_;  // the largest chunk of pages so far
};

}  // namespace holdfast::repository
