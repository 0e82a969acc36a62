// The output of a client program, stored while it runs.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/progress.h"
#include "repository/delta_writer.h"

namespace holdfast::postgres {

struct StoredOutput {
  std::vector<repository::Extent> extents;
  repository::Scatter scatter;
  std::uint64_t size_bytes = 0;
  std::string tail;   // its last KiB
  std::string words;  // what the program wrote to standard error
};

struct OutputStore {
  const repository::ContentCutter& cutter;
  repository::ChunkStore::Writer& writer;
  base::Progress& progress;
  std::stop_token stop;
};

// kFailed, with the program's last words, unless it ends with 0. `judge`: a program that is given
// the same bytes on its standard input and must end with 0 too. `before`: what the same program
// wrote for the backup before; may be null.
StoredOutput store_output(const base::ProcessOptions& program,
                          const std::optional<base::ProcessOptions>& judge,
                          const OutputStore& store, std::unique_ptr<repository::OldContent> before);

// Runs it to its end and gives its words. kFailed, with the last of them, unless it ends with 0.
std::string run_client(const base::ProcessOptions& program, const std::stop_token& stop);

}  // namespace holdfast::postgres
