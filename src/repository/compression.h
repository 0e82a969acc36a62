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

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  int level_;
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(Decompressor&&) noexcept;

  // False unless `packed` is one whole frame that gives exactly plain.size() bytes.
  [[nodiscard]] bool decompress(base::ByteView packed, base::MutableByteView plain);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace holdfast::repository
