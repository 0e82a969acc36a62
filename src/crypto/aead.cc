#include "crypto/aead.h"

#include <openssl/evp.h>

#include <algorithm>
#include <limits>
#include <new>

#include "base/error.h"

namespace holdfast::crypto {
namespace {

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }  // wipes the key
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

void expect(int result, const char* what) {
  if (result != 1) throw base::Error(base::ErrorKind::kFailed, what);
}

CipherContext make_context(const AeadKey& key, int encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  if (!context) throw std::bad_alloc();
  expect(EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.bytes().data(), nullptr,
                           encrypt),
         "OpenSSL offers no AES-256-GCM");
  return context;
}

// EVP counts in int.
int length_of(base::ByteView bytes) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw base::Error(base::ErrorKind::kFailed, "a message is too long for AES-256-GCM");
  }
  return static_cast<int>(bytes.size());
}

void expect_sizes(std::size_t plain, std::size_t sealed) {
  if (sealed < kTagSize || sealed - kTagSize != plain) {
    throw base::Error(base::ErrorKind::kFailed, "AES-256-GCM was given a buffer of the wrong size");
  }
}

}  // namespace

Nonce counter_nonce(std::uint32_t counter, bool last) {
  Nonce nonce{};
  for (std::size_t i = 0; i < 4; ++i) nonce[i] = static_cast<std::uint8_t>(counter >> (8 * i));
  nonce[4] = last ? 1 : 0;
  return nonce;
}

// The key schedules, made once; a message only sets the nonce anew.
struct Aead::Context {
  CipherContext sealing;
  CipherContext opening;
};

Aead::Aead(const AeadKey& key)
    : context_(std::make_unique<Context>(Context{make_context(key, 1), make_context(key, 0)})) {}

Aead::~Aead() = default;
Aead::Aead(Aead&&) noexcept = default;
Aead& Aead::operator=(Aead&&) noexcept = default;

void Aead::seal(const Nonce& nonce, base::ByteView associated, base::ByteView plain,
                base::MutableByteView sealed) {
  expect_sizes(plain.size(), sealed.size());
  const int associated_length = length_of(associated);
  const int plain_length = length_of(plain);
  EVP_CIPHER_CTX* const context = context_->sealing.get();
  std::uint8_t* const tag = sealed.data() + plain.size();
  int written = 0;
  const bool done =
      EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
      (associated.empty() ||
       EVP_EncryptUpdate(context, nullptr, &written, associated.data(), associated_length) == 1) &&
      (plain.empty() ||
       EVP_EncryptUpdate(context, sealed.data(), &written, plain.data(), plain_length) == 1) &&
      EVP_EncryptFinal_ex(context, tag, &written) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag) == 1;
  expect(done ? 1 : 0, "AES-256-GCM failed to seal a message");
}

bool Aead::open(const Nonce& nonce, base::ByteView associated, base::ByteView sealed,
                base::MutableByteView plain) {
  if (sealed.size() < kTagSize) return false;
  expect_sizes(plain.size(), sealed.size());
  const int associated_length = length_of(associated);
  const int plain_length = length_of(plain);
  EVP_CIPHER_CTX* const context = context_->opening.get();
  std::array<std::uint8_t, kTagSize> tag;
  std::copy(sealed.end() - kTagSize, sealed.end(), tag.begin());
  std::array<std::uint8_t, kTagSize> no_output;
  int written = 0;
  const bool authentic =
      EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()) == 1 &&
      (associated.empty() ||
       EVP_DecryptUpdate(context, nullptr, &written, associated.data(), associated_length) == 1) &&
      (plain.empty() ||
       EVP_DecryptUpdate(context, plain.data(), &written, sealed.data(), plain_length) == 1) &&
      EVP_DecryptFinal_ex(context, no_output.data(), &written) == 1;
  if (!authentic) wipe(plain);
  return authentic;
}

}  // namespace holdfast::crypto
