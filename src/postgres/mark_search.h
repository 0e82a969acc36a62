// Finds the transaction or the restore point that a recovery aims at in the archived WAL.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postgres/replay_path.h"
#include "postgres/wal_marks.h"

namespace holdfast::postgres {

// Remembers what it found in each segment: the paths of several backups are looked through with
// hardly more reading than the longest of them.
class MarkSearch {
 public:
  MarkSearch(const repository::Context& context, std::uint32_t xid)
      : context_(context), xid_(xid) {}
  MarkSearch(const repository::Context& context, std::string restore_point)
      : context_(context), name_(std::move(restore_point)) {}

  // Where a server would stop that replays the path from that backup's start on: at the first one.
  std::optional<Lsn> first_on(const ReplayPath& path, const BackupDetails& details);

  // Some segment could not be followed to its end: where nothing was found there may be something.
  bool is_uncertain() const { return uncertain_; }

 private:
  struct Place {
    Lsn lsn = 0;
    bool certain = true;
  };
  using Places = std::vector<Place>;

  const Places& places_in(const BackupDetails& details, const SegmentName& segment);
  Places look(const std::string& object);
  Places read(const std::string& object);

  const repository::Context& context_;
  std::uint32_t xid_ = 0;
  std::optional<std::string> name_;
  std::map<std::string, Places> found_;  // by the segment's object
  bool uncertain_ = false;
};

}  // namespace holdfast::postgres
