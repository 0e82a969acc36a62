// Whether two images of one page differ only in what PostgreSQL changes without a WAL record.
#pragma once

#include "base/bytes.h"

namespace holdfast::postgres {

// Hint bits of the page's and of tuples' headers, line pointers of index tuples that were found
// dead, and what index pages keep for themselves in their special area: in a cluster without
// checksums these change without a word in the WAL, and lose nothing when they are as they were.
// Source: PostgreSQL's access/common/bufmask.c and the *_mask() functions of the access methods.
bool differ_by_hints_alone(base::ByteView before, base::ByteView now);

// A page of a kind that is written without WAL, checksums or not: an SP-GiST index' metapage (its
// cache of pages with free space), and one that a table was extended by and nothing was put into.
// Source: SpGistUpdateMetaPage() in access/spgist/spgutils.c, RelationGetBufferForTuple() in
// access/heap/hio.c.
bool is_written_without_wal(base::ByteView page);

}  // namespace holdfast::postgres
