#include "crypto/secret.h"

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace holdfast::crypto {
namespace {

// Short text stands within the string object and stays there after a move, which is why moved-from
// strings come here too, and why all of the capacity is wiped.
void wipe_text(std::string& text) noexcept {
  text.resize(text.capacity());  // allocates nothing; NOLINT(clang-analyzer-cplusplus.Move)
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace

void wipe(base::MutableByteView bytes) noexcept {
  if (!bytes.empty()) OPENSSL_cleanse(bytes.data(), bytes.size());
}

SecretText::SecretText(std::string&& text) : text_(std::move(text)) { wipe_text(text); }

SecretText& SecretText::operator=(SecretText&& other) noexcept {
  if (this != &other) {
    clear();
    text_ = std::move(other.text_);
    other.clear();
  }
  return *this;
}

void SecretText::clear() noexcept { wipe_text(text_); }

void forbid_core_dumps() {
  // Hardening: where the system refuses it, the program works all the same. The hard limit stays,
  // for the servers that a restore starts.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  struct rlimit limit {};
  if (getrlimit(RLIMIT_CORE, &limit) == 0) {
    limit.rlim_cur = 0;
    setrlimit(RLIMIT_CORE, &limit);
  }
}

}  // namespace holdfast::crypto
