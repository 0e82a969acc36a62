// How fast chunks are stored and read back, in memory: the hot path of full backups without the
// disks.
//
//   chunk_bench [MIB] [WRITERS]
//
// For page-like and for incompressible data: MiB/s stored (new, then all known), MiB/s read back in
// order; then how long an index of 100,000 chunks takes to load.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "base/concurrency.h"
#include "repository/chunk_reader.h"
#include "repository/chunk_writer.h"
#include "repository/sealed_object.h"
#include "storage/memory.h"

namespace holdfast {
namespace {

constexpr std::uint32_t kPageSize = 8192;
constexpr std::size_t kChunkSize = 128 * kPageSize;
constexpr std::size_t kMiB = 1024 * 1024;

struct Keys {
  crypto::SystemRandom random;
  base::SystemClock clock;
  repository::Keyring keyring = repository::Keyring::make(random);
};

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void report(std::string_view what, std::size_t bytes, double seconds) {
  fmt::print("  {:<28} {:8.0f} MiB/s  {:8.0f} chunks/s\n", what,
             static_cast<double>(bytes) / kMiB / seconds,
             static_cast<double>(bytes) / kChunkSize / seconds);
}

base::Bytes incompressible(std::size_t size) {
  base::Bytes bytes(size);
  crypto::SystemRandom().fill(bytes);
  return bytes;
}

// Rows of a few counters and a filler, as pgbench's tables have.
base::Bytes page_like(std::size_t size) {
  base::Bytes bytes(size, ' ');
  std::mt19937 generator(1);
  std::uint32_t row = 0;
  for (std::size_t at = 0; at + 128 <= size; at += 128, ++row) {
    const std::uint32_t values[] = {row, row / 100'000, static_cast<std::uint32_t>(generator()),
                                    28};
    std::memcpy(bytes.data() + at, values, sizeof values);
  }
  return bytes;
}

// Writers take chunks in turn.
std::vector<repository::ChunkId> store(const repository::Context& context, const base::Bytes& data,
                                       int writers) {
  const repository::Index index = repository::Index::load(context);
  repository::ChunkStore chunks(context, index, {});
  std::vector<repository::ChunkId> ids(data.size() / kChunkSize);
  std::atomic<std::size_t> next{0};
  base::WorkerGroup workers;
  for (int i = 0; i < writers; ++i) {
    workers.start([&](const std::stop_token&) {
      const auto writer = chunks.new_writer();
      for (std::size_t n = next++; n < ids.size(); n = next++) {
        ids[n] = writer->put_pages({data.data() + n * kChunkSize, kChunkSize}, kPageSize);
      }
      writer->finish();
    });
  }
  workers.join();
  chunks.finish();
  return ids;
}

void measure(std::string_view what, const base::Bytes& data, int writers) {
  Keys keys;
  const auto storage = storage::open_memory();
  const repository::Context context{*storage, keys.keyring, keys.clock, keys.random};
  fmt::print("{}, {} MiB, {} writers\n", what, data.size() / kMiB, writers);

  std::vector<repository::ChunkId> ids;
  report("stored", data.size(), seconds_of([&] { ids = store(context, data, writers); }));
  report("known already", data.size(), seconds_of([&] { store(context, data, writers); }));

  const repository::Index index = repository::Index::load(context);
  base::Bytes buffer(kChunkSize);
  repository::ChunkReader reader(context, index);
  report("read back, one thread", data.size(), seconds_of([&] {
           for (const repository::ChunkId& id : ids) reader.read(id, buffer);
         }));
  std::uint64_t stored_bytes = 0;
  storage->list("", [&](const storage::ObjectInfo& info) { stored_bytes += info.size_bytes; });
  fmt::print("  stored size: {:.1f} %\n",
             100 * static_cast<double>(stored_bytes) / static_cast<double>(data.size()));
}

void measure_index() {
  Keys keys;
  const auto storage = storage::open_memory();
  const repository::Context context{*storage, keys.keyring, keys.clock, keys.random};
  constexpr int kChunks = 100'000;
  constexpr int kChunksInPack = 50;
  std::vector<repository::Index::PackContents> packs;
  const auto put = [&] {
    put_metadata(context, repository::index_name(repository::IndexId::make(keys.random)),
                 repository::MetadataKind::kIndex, repository::encode_index(packs));
    packs.clear();
  };
  for (int i = 0; i < kChunks / kChunksInPack; ++i) {
    repository::Index::PackContents& pack = packs.emplace_back();
    pack.pack.id = repository::PackId::make(keys.random);
    pack.pack.size_bytes = kChunkSize * kChunksInPack + 4096;
    for (int n = 0; n < kChunksInPack; ++n) {
      auto& chunk = pack.chunks.emplace_back();
      keys.random.fill(chunk.id.bytes);
      chunk.length = chunk.stored_length = kChunkSize;
      chunk.codec = repository::Codec::kZstd;
    }
    if (packs.size() == 16) put();
  }
  put();
  std::size_t chunks = 0;
  const double seconds =
      seconds_of([&] { chunks = repository::Index::load(context).slots().size(); });
  fmt::print("index of {} chunks loaded in {:.1f} ms\n", chunks, seconds * 1000);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  const std::size_t size = (argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 512) * holdfast::kMiB;
  const int writers = argc > 2 ? std::atoi(argv[2]) : 2;
  holdfast::measure("page-like", holdfast::page_like(size), writers);
  holdfast::measure("incompressible", holdfast::incompressible(size), writers);
  holdfast::measure_index();
}
