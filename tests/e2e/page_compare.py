"""Compares the relations of two data directories page by page. Only what PostgreSQL itself may change
without writing WAL is left out, and not more than that: a page that differs in anything else is a finding.
What that is, is in the mask functions of PostgreSQL's access methods (heap_mask, btree_mask, ...), which its
wal_consistency_checking uses; here some of them are narrower, since nothing is replayed out of order."""

import collections
import os
import struct

PAGE_SIZE = 8192
SEGMENT_PAGES = 131072  # of a gigabyte
HEADER_SIZE = 24
ZERO_PAGE = bytes(PAGE_SIZE)

# A relation's main fork. method: its access method, or "sequence". unlogged: a restore empties it.
Relation = collections.namedtuple("Relation", "path name method unlogged")

# storage/bufpage.h: hints among pd_flags
PD_HAS_FREE_LINES, PD_PAGE_FULL = 0x0001, 0x0002
# access/htup_details.h
HEAP_COMBOCID = 0x0020
XMIN_HINTS, XMAX_HINTS = 0x0300, 0x0C00  # committed, invalid
# access/nbtree.h: set on the primary alone
BTP_LEAF, BTP_DELETED, BTP_HALF_DEAD, BTP_SPLIT_END, BTP_HAS_GARBAGE = 0x01, 0x04, 0x10, 0x20, 0x40
# access/hash.h
LH_PAGE_TYPE, LH_OVERFLOW, LH_BUCKET, LH_HAS_DEAD_TUPLES = 0x0F, 0x01, 0x02, 0x80
# access/ginblock.h, gist.h, brin_page.h
GIN_DELETED = 0x04
GIST_LEAF, GIST_HAS_GARBAGE = 0x01, 0x10
BRIN_REVMAP, BRIN_EVACUATE = 0xF092, 0x01
SPGIST_META = 0x01


def get16(page, offset):
    return struct.unpack_from("<H", page, offset)[0]


def put16(page, offset, value):
    struct.pack_into("<H", page, offset, value)


def clear(page, begin, end):
    page[begin:end] = bytes(end - begin)


def line_pointers(page):
    """(offset of the pointer, offset of the item, flags, length) of each."""
    for position in range(HEADER_SIZE, min(get16(page, 12), PAGE_SIZE - 4), 4):
        word = struct.unpack_from("<I", page, position)[0]
        yield position, word & 0x7FFF, (word >> 15) & 3, word >> 17


def clear_hole(page):
    lower, upper, special = struct.unpack_from("<HHH", page, 12)
    if HEADER_SIZE <= lower <= upper <= special <= PAGE_SIZE:
        clear(page, lower, upper)


def clear_dead_marks(page):
    """Index scans mark dead items in the line pointers, as a hint."""
    for position, _, flags, _ in line_pointers(page):
        if flags:
            word = struct.unpack_from("<I", page, position)[0]
            struct.pack_into("<I", page, position, word & ~(3 << 15))


def clear_content(page):
    """Of pages that an index has given up: what is left on them does not count."""
    clear(page, 12, 16)
    clear(page, HEADER_SIZE, PAGE_SIZE)


def mask_heap(page):
    clear_hole(page)
    for _, item, flags, length in line_pointers(page):
        if flags != 1 or item + length > PAGE_SIZE or length < 23:
            continue
        clear(page, item + length, min(item + (length + 7) // 8 * 8, PAGE_SIZE))  # padding
        clear(page, item + 8, item + 12)  # t_cid: of use to its own transaction only
        infomask = get16(page, item + 20) & ~HEAP_COMBOCID
        if infomask & XMIN_HINTS != XMIN_HINTS:  # both: frozen, which is logged
            infomask &= ~XMIN_HINTS
        put16(page, item + 20, infomask & ~XMAX_HINTS)


def mask_btree(page):
    clear_hole(page)
    special = get16(page, 16)
    if special != PAGE_SIZE - 16:
        return
    flags = get16(page, special + 12)
    if flags & (BTP_DELETED | BTP_HALF_DEAD):
        clear_content(page)
        put16(page, special + 12, flags)
        return
    if flags & BTP_LEAF:
        clear_dead_marks(page)
    put16(page, special + 12, flags & ~(BTP_SPLIT_END | BTP_HAS_GARBAGE))
    put16(page, special + 14, 0)  # the cycle of the vacuum under way


def mask_hash(page):
    clear_hole(page)
    special = get16(page, 16)
    if special != PAGE_SIZE - 16:
        return
    flags = get16(page, special + 12)
    if flags & LH_PAGE_TYPE == 0:
        clear_content(page)
    elif flags & (LH_BUCKET | LH_OVERFLOW):
        clear_dead_marks(page)
        put16(page, special + 12, flags & ~LH_HAS_DEAD_TUPLES)


def mask_gin(page):
    special = get16(page, 16)
    if special == PAGE_SIZE - 8 and get16(page, special + 6) & GIN_DELETED:
        clear_content(page)
    elif get16(page, 12) > HEADER_SIZE:
        clear_hole(page)


def mask_gist(page):
    clear_hole(page)
    special = get16(page, 16)
    if special != PAGE_SIZE - 16:
        return
    flags = get16(page, special + 12)
    if flags & GIST_LEAF:
        clear_dead_marks(page)
    put16(page, special + 12, flags & ~GIST_HAS_GARBAGE)


def mask_spgist(page):
    clear_hole(page)
    special = get16(page, 16)
    if special == PAGE_SIZE - 8 and get16(page, special) & SPGIST_META:
        clear(page, HEADER_SIZE + 4, HEADER_SIZE + 4 + 64)  # which pages were used last: a cache


def mask_brin(page):
    kind = get16(page, PAGE_SIZE - 2)
    if kind != BRIN_REVMAP:
        clear_hole(page)
    put16(page, PAGE_SIZE - 4, get16(page, PAGE_SIZE - 4) & ~BRIN_EVACUATE)


MASKS = {"heap": mask_heap, "btree": mask_btree, "hash": mask_hash, "gin": mask_gin, "gist": mask_gist,
         "spgist": mask_spgist, "brin": mask_brin, "sequence": clear_hole}


def is_empty(page):
    """All zero, or initialised without WAL, as a page is that nothing was ever put on."""
    return page == ZERO_PAGE or (page[:8] == bytes(8) and get16(page, 12) == HEADER_SIZE)


def masked(page, method):
    out = bytearray(page)
    clear(out, 8, 10)  # the checksum, of what is masked here; pg_checksums judges it
    put16(out, 10, get16(out, 10) & ~(PD_HAS_FREE_LINES | PD_PAGE_FULL))
    clear(out, 20, 24)  # pd_prune_xid
    MASKS[method](out)
    return out


def difference(source, restored, method):
    """What two pages differ in that they must not, or None."""
    if is_empty(source) and is_empty(restored):
        return None
    left, right = masked(source, method), masked(restored, method)
    if left == right:
        return None
    places = [offset for offset in range(PAGE_SIZE) if left[offset] != right[offset]]
    lsns = [f"{struct.unpack_from('<I', page, 0)[0]:X}/{struct.unpack_from('<I', page, 4)[0]:X}"
            for page in (source, restored)]
    return (f"{len(places)} bytes differ, the first at {places[0]}; source's LSN {lsns[0]}, "
            f"restored {lsns[1]}")


def segments(directory, path):
    names, number = [], 0
    name = path
    while os.path.exists(os.path.join(directory, name)):
        names.append(name)
        number += 1
        name = f"{path}.{number}"
    return names


def read(directory, name):
    with open(os.path.join(directory, name), "rb") as file:
        return file.read()


def same_relation(source, restored, relation, later):
    """Findings about one relation. later: the blocks that the source changed after the moment that was
    restored."""
    left, right = segments(source, relation.path), segments(restored, relation.path)
    if not right:
        return [f"{relation.name} ({relation.path}) is missing"]
    if relation.unlogged:
        empty = read(source, relation.path + "_init")
        got = b"".join(read(restored, name) for name in right)
        return [] if got == empty else [f"{relation.name} ({relation.path}) is unlogged and not empty"]
    findings = []
    for number in range(max(len(left), len(right))):
        ours = read(source, left[number]) if number < len(left) else b""
        theirs = read(restored, right[number]) if number < len(right) else b""
        if ours == theirs:
            continue
        if len(theirs) % PAGE_SIZE:
            findings.append(f"{relation.name} ({right[number]}) ends within a page")
        for offset in range(0, max(len(ours), len(theirs)), PAGE_SIZE):
            block = number * SEGMENT_PAGES + offset // PAGE_SIZE
            pages = [(data[offset:offset + PAGE_SIZE] or ZERO_PAGE).ljust(PAGE_SIZE, b"\0")
                     for data in (ours, theirs)]
            if pages[0] == pages[1] or block in later:
                continue
            problem = difference(*pages, relation.method)
            if problem:
                findings.append(f"{relation.name} ({relation.path}) block {block}: {problem}")
    return findings


def compare(source, restored, relations, later):
    """Findings about all of them. later: {path: blocks}."""
    findings = []
    for relation in relations:
        findings += same_relation(source, restored, relation, later.get(relation.path, ()))
    return findings


def relation_files(directory):
    """The main forks' first segments that are there, temporary tables left out."""
    found = set()
    for top in ("base", "global", "pg_tblspc"):
        for folder, _, names in os.walk(os.path.join(directory, top), followlinks=True):
            if "pgsql_tmp" in folder:
                continue
            found.update(os.path.relpath(os.path.join(folder, name), directory)
                         for name in names if name.isdigit())
    return found
