#include "postgres/manifest.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <iterator>

#include "base/bytes.h"
#include "crypto/hash.h"

namespace holdfast::postgres {
namespace {

// Well-formed UTF-8 as PostgreSQL's pg_utf8_islegal() sees it (RFC 3629): no overlong forms, no
// surrogates, nothing past U+10FFFF.
bool is_utf8(std::string_view text) {
  const auto byte = [&text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  for (std::size_t i = 0; i < text.size();) {
    const int lead = byte(i);
    const int second = byte(i + 1);
    std::size_t size = 0;
    if (lead < 0x80) {
      size = 1;
    } else if (lead >= 0xC2 && lead < 0xE0) {
      size = 2;
    } else if ((lead == 0xE0 && second >= 0xA0) || (lead == 0xED && second < 0xA0) ||
               (lead > 0xE0 && lead < 0xF0 && lead != 0xED)) {
      size = 3;
    } else if ((lead == 0xF0 && second >= 0x90) || (lead == 0xF4 && second < 0x90) ||
               (lead > 0xF0 && lead < 0xF4)) {
      size = 4;
    } else {
      return false;
    }
    for (std::size_t k = 1; k < size; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) {
        return false;
      }
    }
    i += size;
  }
  return true;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_file(std::string& out, const ManifestFile& file) {
  if (is_utf8(file.path)) {
    out += "{ \"Path\": ";
    append_json_string(out, file.path);
  } else {
    fmt::format_to(std::back_inserter(out), "{{ \"Encoded-Path\": \"{}\"",
                   base::to_hex(base::as_bytes(file.path)));
  }
  // The checksum's four bytes in the order in which they lie in memory.
  const std::array<std::uint8_t, 4> crc = {
      static_cast<std::uint8_t>(file.crc), static_cast<std::uint8_t>(file.crc >> 8),
      static_cast<std::uint8_t>(file.crc >> 16), static_cast<std::uint8_t>(file.crc >> 24)};
  const auto seconds = std::chrono::floor<std::chrono::seconds>(file.modified);
  fmt::format_to(std::back_inserter(out),
                 ", \"Size\": {}, \"Last-Modified\": \"{:%Y-%m-%d %H:%M:%S} GMT\", "
                 "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{}\" }}",
                 file.size_bytes, seconds, base::to_hex(crc));
}

}  // namespace

std::string make_backup_manifest(int server_version_major, std::uint64_t system_id,
                                 const std::vector<ManifestFile>& files,
                                 const std::vector<ManifestWalRange>& wal_ranges) {
  std::string out;
  if (server_version_major >= 17) {
    out = fmt::format("{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {},\n",
                      system_id);
  } else {
    out = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n";
  }
  out += "\"Files\": [";
  const char* separator = "\n";
  for (const ManifestFile& file : files) {
    out += separator;
    append_file(out, file);
    separator = ",\n";
  }
  out += "\n],\n\"WAL-Ranges\": [";
  separator = "\n";
  for (const ManifestWalRange& range : wal_ranges) {
    out += separator;
    fmt::format_to(std::back_inserter(out),
                   "{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
                   range.timeline, format_lsn(range.start), format_lsn(range.end));
    separator = ",\n";
  }
  out += "\n],\n";
  // The last line carries the hash of all lines before it.
  const crypto::Digest digest = crypto::sha256(base::as_bytes(out));
  out += fmt::format("\"Manifest-Checksum\": \"{}\"}}\n", base::to_hex(digest));
  return out;
}

}  // namespace holdfast::postgres
