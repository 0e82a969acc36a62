#include "crypto/kdf.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sys/random.h>

#include <cerrno>
#include <memory>
#include <span>

#include "base/error.h"

namespace holdfast::crypto {
namespace {

struct FreeKdf {
  void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};

void derive(const char* algorithm, const OSSL_PARAM* parameters, base::MutableByteView out) {
  const std::unique_ptr<EVP_KDF, FreeKdf> kdf(EVP_KDF_fetch(nullptr, algorithm, nullptr));
  const std::unique_ptr<EVP_KDF_CTX, FreeKdf> context(kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr);
  if (!context || EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) != 1) {
    throw base::Error(base::ErrorKind::kFailed,
                      fmt::format("OpenSSL failed to derive a key with {}", algorithm));
  }
}

// OSSL_PARAM takes what it only reads as pointers to non-const, and refuses null even for no bytes.
OSSL_PARAM octets(const char* name, base::ByteView bytes) {
  static constexpr std::uint8_t kNothing = 0;
  if (bytes.empty()) bytes = {&kNothing, 0};
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()),
                                           bytes.size());
}

}  // namespace

void hkdf(base::ByteView salt, base::ByteView input_key, std::string_view info,
          base::MutableByteView out) {
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_SALT, salt),
      octets(OSSL_KDF_PARAM_KEY, input_key),
      octets(OSSL_KDF_PARAM_INFO, base::as_bytes(info)),
      OSSL_PARAM_construct_end(),
  };
  derive("HKDF", parameters, out);
}

void scrypt(const SecretText& passphrase, base::ByteView salt, ScryptCost cost,
            base::MutableByteView out) {
  if (cost.log2_n < 14 || cost.log2_n > 20 || cost.r < 1 || cost.r > 16 || cost.p < 1 ||
      cost.p > 4) {
    throw base::Error(base::ErrorKind::kDamaged,
                      fmt::format("the scrypt cost N=2^{} r={} p={} is out of bounds", cost.log2_n,
                                  cost.r, cost.p));
  }
  std::uint64_t n = std::uint64_t{1} << cost.log2_n;
  std::uint32_t r = cost.r;
  std::uint32_t p = cost.p;
  // RFC 7914: V takes 128·r·N bytes, B 128·r·p; OpenSSL adds two blocks of 128·r.
  std::uint64_t max_memory_bytes = 128 * std::uint64_t{r} * (n + p + 2);
  const OSSL_PARAM parameters[] = {
      octets(OSSL_KDF_PARAM_PASSWORD, base::as_bytes(passphrase.view())),
      octets(OSSL_KDF_PARAM_SALT, salt),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &max_memory_bytes),
      OSSL_PARAM_construct_end(),
  };
  derive("SCRYPT", parameters, out);
}

void SystemRandom::fill(base::MutableByteView out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw base::system_error(errno, "cannot get random bytes");
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace holdfast::crypto
