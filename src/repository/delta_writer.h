// Stores a stream of bytes as ranges of chunks that hold what the same file had in a backup before,
// and new chunks for the rest: for text of which some records in every stretch have changed.
#pragma once

#include <memory>

#include "repository/content_writer.h"
#include "repository/old_content.h"
#include "repository/record_index.h"

namespace holdfast::repository {

// How much a restore must go to and fro.
struct Scatter {
  std::uint64_t bytes = 0;        // of the content
  std::uint64_t extents = 0;      // of chunks
  std::uint64_t chunk_bytes = 0;  // of all chunks that they refer to, as a whole

  void add(const Scatter& other);
  // So much that the next backup should store the content whole again: an extent has less than
  // 256 bytes on average, there are two million of them, or the chunks have more than 1.5 times
  // the content's bytes.
  bool is_too_much() const;
};

// The stream and the old content are read side by side. Where they part, records of the stream are
// looked for in the old content around (8 MiB behind, 16 MiB ahead), or, once a lot of it was not
// found, in a sample of all that was seen. What is found is compared byte by byte. What is not
// found is gathered and cut by content. One per stream. Memory: 8 MiB, and with old content some
// 130 MiB and 56 bytes an extent of the old content and of the new, of which there are two million
// at most.
class DeltaWriter {
 public:
  // They outlive it. Without old content it does what ContentWriter does.
  DeltaWriter(const ContentCutter& cutter, ChunkStore::Writer& writer,
              std::unique_ptr<OldContent> old);

  void write(base::ByteView bytes);
  // What is left is stored; the extents of all that was written.
  std::vector<Extent> finish();
  std::uint64_t size_bytes() const { return size_bytes_; }
  const Scatter& scatter() const { return scatter_; }  // after finish()

 private:
  // A range of old content, which ends in the stream where the literals begin.
  struct Run {
    std::uint64_t place = 0;
    std::uint64_t length = 0;
    std::uint64_t end() const { return place + length; }
  };
  // Literals have a length alone: their chunks are known at the end.
  struct Piece {
    Extent extent;
    bool is_literal = false;
  };

  void match(bool to_the_end);
  void forget_matched();
  bool follow();
  void part();
  bool search(bool to_the_end);
  void look_around(std::uint64_t place);
  void drift();
  bool find_at(std::size_t at);
  bool find_sampled(std::size_t at, std::uint64_t hash);
  bool begin_run_if_same(std::size_t at, std::uint64_t place);
  void begin_run(std::size_t at, std::uint64_t place);
  void store_run();
  void store_literals(std::size_t end);
  void measure(const std::vector<Extent>& extents, const std::vector<Extent>& literals);

  ContentWriter literals_;
  const std::unique_ptr<OldContent> old_;  // null where there is none
  RecordIndex records_;
  std::vector<Piece> pieces_;
  std::uint64_t size_bytes_ = 0;
  Scatter scatter_;

  base::Bytes waiting_;             // the end of what was written, and a little before it
  std::size_t literals_begin_ = 0;  // in waiting_: before it stands the run
  std::size_t at_ = 0;              // in waiting_: what is to be followed or looked up next
  Run run_;
  // While records are looked up:
  bool searching_ = false;
  std::uint64_t expected_ = 0;       // the place in the old content where the two parted
  std::uint64_t diagonal_ = 0;       // what stood where the literals begin, if nothing was inserted
  std::vector<std::uint64_t> near_;  // where the next records begin from there
  std::uint64_t unfound_ = 0;        // bytes since they parted which are stored
  std::uint64_t next_drift_ = 0;     // of these
  std::uint64_t next_jump_ = 0;
  std::vector<std::uint64_t> places_;
  std::vector<Extent> extents_;
};

}  // namespace holdfast::repository
