#include "storage/s3/checksum.h"

#include <openssl/evp.h>

#include <array>

#include "base/error.h"
#include "crypto/hash.h"

namespace holdfast::storage::s3 {
namespace {

std::string md5_base64(base::ByteView content) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (EVP_Digest(content.data(), content.size(), digest.data(), &size, EVP_md5(), nullptr) != 1) {
    throw base::Error(base::ErrorKind::kFailed, "this machine's OpenSSL has no MD5",
                      "the store refuses newer checksums than MD5");
  }
  return base::to_base64(base::ByteView(digest).first(size));
}

}  // namespace

Checksum checksum_of(base::ByteView content) {
  const crypto::Digest digest = crypto::sha256(content);
  return {base::to_hex(digest), base::to_base64(digest)};
}

void add_checksum(ChecksumKind kind, base::ByteView content, const Checksum& checksum,
                  Headers& headers) {
  if (kind == ChecksumKind::kMd5) {
    headers.emplace_back("content-md5", md5_base64(content));
    return;
  }
  headers.emplace_back("x-amz-sdk-checksum-algorithm", "SHA256");
  headers.emplace_back("x-amz-checksum-sha256", checksum.sha256_base64);
}

// Of an object that was put in parts the checksum is one of the parts' checksums ("…-3").
bool is_intact(const HttpAnswer& answer, base::ByteView content) {
  const std::string_view stored = answer.header("x-amz-checksum-sha256");
  if (stored.empty() || stored.find('-') != std::string_view::npos) return true;
  return stored == checksum_of(content).sha256_base64;
}

}  // namespace holdfast::storage::s3
