// What an incremental backup has to read: every file of the cluster, set against the backup before.
#pragma once

#include <string_view>
#include <vector>

#include "postgres/change_map.h"
#include "postgres/changed_pages.h"

namespace holdfast::postgres {

// The relation to which a file of pages belongs, by the directory it stands in; nullopt for all but
// main forks.
std::optional<RelationId> relation_of(std::string_view path);

struct IncrementalPlan {
  // To be read and stored whole: what is no main fork of a relation, what the backup before did not
  // have, and what its changes do not tell of page by page. Directories and links are here too.
  std::vector<ClusterFile> whole;
  std::vector<PartialFile> partial;  // all others; they point into the listing
};

// `files` is the listing, `before` the file table of the backup before, both in the order of their
// paths. `changes` is all that the WAL since that backup's start says; null where it does not say
// all: then only files that grew have pages taken, and find_changed_pages() must tell of the rest.
// A file of which half the pages changed is read whole.
IncrementalPlan plan_incremental(const std::vector<ClusterFile>& files,
                                 std::vector<repository::FileEntry> before,
                                 const ChangeMap* changes, std::uint32_t page_size);

// Reads every page of the partial files and takes those with an LSN past `since`, and those whose
// hash is not that of the page in the backup before. Returns the bytes read.
std::uint64_t find_changed_pages(IncrementalPlan& plan, Lsn since,
                                 const repository::Context& context, const repository::Index& index,
                                 const ClusterInfo& cluster, const ReadingLimits& limits,
                                 base::Progress& progress, std::stop_token stop);

// Moves the files whose old chunks are not all in the repository to `whole`, so that what is
// damaged there is not built upon. Returns their paths.
std::vector<std::string> distrust_lost_chunks(IncrementalPlan& plan,
                                              const repository::Context& context,
                                              const repository::Index& index,
                                              std::uint32_t page_size, int workers,
                                              std::stop_token stop);

}  // namespace holdfast::postgres
