// The order in which codec 2 hands a chunk of pages to zstd: like things stand together. "Packs" in
// docs/format.md. Internal to this folder.
#pragma once

#include "base/bytes.h"

namespace holdfast::repository {

// First byte 0 of the header of every page in turn, then byte 1, and so on; then the pages without
// their headers. In an index page whose tuples seem to have one size, byte 0 of every tuple in
// turn, and so on. What a page is, is read from bytes that keep their value and are restored first,
// so any content comes back as it was. `pages` is of whole pages of a valid size; `out` is as long
// and does not overlap it.
void rearrange_pages(base::ByteView pages, std::size_t page_size, base::MutableByteView out);
void restore_pages(base::ByteView rearranged, std::size_t page_size, base::MutableByteView pages);

}  // namespace holdfast::repository
