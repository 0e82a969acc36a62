// The text of key files: "A key file" in docs/format.md.
#include <algorithm>

#include "base/error.h"
#include "crypto/hash.h"
#include "repository/fields.h"
#include "repository/keyring.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kTag = "holdfast-key-1 ";
constexpr std::string_view kKeyFile = "KEYFILE";
constexpr std::string_view kFull = "FULL";
constexpr std::string_view kWriteOnly = "WRITE-ONLY";
constexpr std::size_t kChecksumSize = 4;

[[noreturn]] void not_a_key(std::string_view problem) {
  throw base::Error(base::ErrorKind::kKey, "this is not a key file: " + std::string(problem),
                    "A key file has a line that begins with 'holdfast-key-1'. Take the file that "
                    "'holdfast init' or 'holdfast key export' wrote, whole and unchanged.");
}

// The text but for comments, line ends made spaces, after the tag.
crypto::SecretText strip(std::string_view text) {
  std::string content;
  content.reserve(text.size() + 1);  // never grows: no copy of a key is left behind
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    content.append(line).push_back(' ');
  }
  return crypto::SecretText(std::move(content));
}

Keyring parse_exported(base::ByteView payload, bool full) {
  Keyring keyring;
  try {
    keyring = decode_keyring(payload);
  } catch (const base::Error& error) {
    not_a_key(error.what());
  }
  if (keyring.can_read_data() != full) not_a_key("it does not hold what its first line says");
  return keyring;
}

crypto::SecretText make_text(std::string_view comment, std::string_view type,
                             base::ByteView payload) {
  WipedBytes checked;
  checked.bytes.reserve(payload.size() + kChecksumSize);
  checked.bytes.assign(payload.begin(), payload.end());
  const crypto::Digest digest = crypto::sha256(payload);
  checked.bytes.insert(checked.bytes.end(), digest.begin(), digest.begin() + kChecksumSize);
  const crypto::SecretText base64(base::to_base64(checked.bytes));

  std::string text;
  text.reserve(comment.size() + kTag.size() + type.size() + base64.view().size() + 8);
  text.append("# ").append(comment).append("\n");
  text.append(kTag).append(type).append(" ").append(base64.view()).append("\n");
  return crypto::SecretText(std::move(text));
}

}  // namespace

Credential parse_key_file(const crypto::SecretText& text) {
  const crypto::SecretText content = strip(text.view());
  std::string_view rest = content.view();
  if (!rest.starts_with(kTag)) not_a_key("it does not begin with 'holdfast-key-1'");
  rest.remove_prefix(kTag.size());
  const std::string_view type = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(type.size(), rest.size()));

  WipedBytes checked;
  if (!base::from_base64(rest, checked.bytes) || checked.bytes.size() <= kChecksumSize) {
    not_a_key("it is cut off or altered");
  }
  const base::ByteView all = checked.bytes;
  const base::ByteView payload = all.first(all.size() - kChecksumSize);
  const crypto::Digest digest = crypto::sha256(payload);
  if (!std::equal(digest.begin(), digest.begin() + kChecksumSize,
                  all.last(kChecksumSize).begin())) {
    not_a_key("its checksum is wrong, so it was altered or mistyped");
  }

  Credential credential;
  if (type == kKeyFile) {
    if (payload.size() != crypto::AeadKey::kSize) not_a_key("its key has the wrong length");
    credential.kind = Credential::Kind::kKeyFile;
    credential.key_file_secret = crypto::AeadKey(payload.first<crypto::AeadKey::kSize>());
  } else if (type == kFull || type == kWriteOnly) {
    credential.kind = Credential::Kind::kExported;
    credential.exported = parse_exported(payload, type == kFull);
  } else {
    not_a_key("its type is unknown; a newer holdfast may have written it");
  }
  return credential;
}

crypto::SecretText make_key_file(crypto::Random& random) {
  crypto::AeadKey secret;
  random.fill(secret.writable());
  return make_text(
      "The key of a Holdfast repository. Keep a copy elsewhere: without it no backup can be read.",
      kKeyFile, secret.bytes());
}

crypto::SecretText export_key_file(const Keyring& keyring) {
  const WipedBytes payload(encode_keyring(keyring));
  if (keyring.can_read_data()) {
    return make_text("All keys of a Holdfast repository: whoever has this file reads every backup.",
                     kFull, payload.bytes);
  }
  return make_text("Holdfast: takes backups and archives WAL with this, and cannot read them back.",
                   kWriteOnly, payload.bytes);
}

}  // namespace holdfast::repository
