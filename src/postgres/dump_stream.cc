#include "postgres/dump_stream.h"

#include "base/error.h"
#include "base/piped_process.h"
#include "postgres/client_program.h"

namespace holdfast::postgres {
namespace {

using base::Error;
using base::ErrorKind;
using base::PipedProcess;

constexpr std::size_t kBufferSize = 512 * 1024;
constexpr std::size_t kTailSize = 1024;

// Its standard error.
std::string expect_success(const base::ProcessOptions& program, base::ProcessResult result) {
  if (result.exit_status == 0) return std::move(result.err);
  throw Error(ErrorKind::kFailed, failure_of(program.argv.front(), result));
}

void keep_tail(std::string& tail, base::ByteView piece) {
  tail += base::as_text(piece.last(std::min(piece.size(), kTailSize)));
  if (tail.size() > kTailSize) tail.erase(0, tail.size() - kTailSize);
}

}  // namespace

StoredOutput store_output(const base::ProcessOptions& program,
                          const std::optional<base::ProcessOptions>& judge,
                          const OutputStore& store,
                          std::unique_ptr<repository::OldContent> before) {
  std::optional<PipedProcess> reader;
  if (judge) reader.emplace(*judge, base::PipedEnds{.input = true});
  PipedProcess source(program, {.output = true});
  repository::DeltaWriter content(store.cutter, store.writer, std::move(before));
  StoredOutput stored;
  base::Bytes buffer(kBufferSize);
  // A judge that takes no more has come to a verdict, which it tells at the end.
  bool judging = reader.has_value();
  while (const std::size_t size = source.read(buffer, store.stop)) {
    const base::ByteView piece(buffer.data(), size);
    if (judging) judging = reader->write(piece, store.stop);
    content.write(piece);
    keep_tail(stored.tail, piece);
    store.progress.advance(size);
  }
  stored.words = expect_success(program, source.wait(store.stop));
  if (reader) {
    base::with_context("what it wrote is not whole",
                       [&] { expect_success(*judge, reader->wait(store.stop)); });
  }
  stored.extents = content.finish();
  stored.scatter = content.scatter();
  stored.size_bytes = content.size_bytes();
  return stored;
}

std::string run_client(const base::ProcessOptions& program, const std::stop_token& stop) {
  PipedProcess process(program, {});
  return expect_success(program, process.wait(stop));
}

}  // namespace holdfast::postgres
