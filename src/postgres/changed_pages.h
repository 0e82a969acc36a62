// Stores what changed of relation files that the backup before has: the hot path of an incremental
// backup.
#pragma once

#include <vector>

#include "postgres/cluster_reader.h"
#include "postgres/page_places.h"

namespace holdfast::postgres {

struct PartialFile {
  const ClusterFile* file = nullptr;
  repository::FileEntry before;  // as the backup before has it
  PageNumbers taken;             // what must be stored anew; none: the file is as it was
};

// The changed pages of a file are read, checked and packed together into chunks of 128, with those
// that go along to keep the file from scattering (add_scattered_pages); its other pages stay where
// they are. A file of which nothing is taken is not opened. The index is the one of the store.
// As in store_cluster_files(), a file may shrink or vanish meanwhile. `stored` gets the entries.
void store_changed_pages(const repository::Context& context, const repository::Index& index,
                         const ClusterInfo& cluster, std::vector<PartialFile>& files,
                         repository::ChunkStore& store, const ReadingLimits& limits,
                         StoredFiles& stored, base::Progress& progress, std::stop_token stop);

}  // namespace holdfast::postgres
