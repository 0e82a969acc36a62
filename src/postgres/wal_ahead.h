// Archiving several segments in parallel, where the server asks for one after the other.
//
// PostgreSQL calls archive_command for one segment at a time. A call that finds more segments ready
// behind its own starts a process in the background that archives those; the next calls find them
// in the repository and have nothing left to do. Nothing waits in a spool: only what is durable in
// the repository is ever called done, so a kill of anything at any moment loses nothing. The
// process ends when nothing is ready any more, when it is as far ahead as it may be and nobody
// asks, or at the first failure, which the call for that segment meets again and tells.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "postgres/wal_archive.h"

namespace holdfast::postgres {

// What has been archived ahead for one pg_wal: one small file for each segment, in a private
// directory that a restart of the machine empties. A note holds only for the very file that was
// read, unchanged since, and the very object that was put; where anything differs it is as if there
// were none. Losing one costs the time to compare the content. Thread-safe.
class ArchivedNotes {
 public:
  ArchivedNotes(std::filesystem::path directory, const std::filesystem::path& pg_wal,
                storage::Storage& storage);

  // Whether this segment is in the repository, durable, after waiting for it where it is being
  // archived right now. The note is used up by that.
  bool take(const std::string& segment) const;

  // Around the archiving of a segment; take() waits from begin() to end().
  void begin(const std::string& segment) const;
  // `before`: look_at() before it was read. A note that cannot be written is left out.
  void end(const std::string& segment, const std::string& before, const std::string& object) const;
  void forget(const std::string& segment) const;
  bool has(const std::string& segment) const;
  // What one that was killed has begun.
  void forget_unfinished() const;

  // What the segment's file looks like: it changes when somebody writes to it or puts another in
  // its place. Empty where there is none.
  std::string look_at(const std::string& segment) const;

  // The process in the background holds a lock on this file.
  std::filesystem::path lock_file() const;
  bool is_served() const;

 private:
  std::filesystem::path place_of(const std::string& segment, std::string_view suffix) const;
  std::string text_of(const std::string& segment, const std::string& look,
                      const std::string& object) const;
  bool take_note(const std::string& segment) const;

  std::filesystem::path directory_;
  std::filesystem::path pg_wal_;
  storage::Storage& storage_;
  std::string prefix_;  // tells apart the notes for different servers and repositories
};

// At most `most` of the segments that follow this one without a gap and that the server has marked
// as ready. None of those so large that one keeps all cores busy by itself.
std::vector<std::string> ready_after(const std::filesystem::path& segment, int most);

struct AheadOptions {
  int most = 8;     // segments that the server has not asked for yet
  int workers = 2;  // segments at a time
};

// What the process in the background does: archives what follows `segment`. Returns at once if
// another one is at work there.
void archive_ahead(const repository::Context& context, const ArchivedNotes& notes,
                   const std::filesystem::path& segment, const AheadOptions& options);

}  // namespace holdfast::postgres
