// The text of key files: "A key file" in docs/format.md.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "crypto/hash.h"
#include "repository/fields.h"
#include "repository/keyring.h"
#include "repository/typed_lines.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kTag = "holdfast-key-1 ";
constexpr std::string_view kKeyFile = "KEYFILE";
constexpr std::string_view kFull = "FULL";
constexpr std::string_view kWriteOnly = "WRITE-ONLY";
constexpr std::string_view kLines = " lines";
constexpr std::size_t kChecksumSize = 4;

[[noreturn]] void not_a_key(std::string_view problem) {
  throw base::Error(base::ErrorKind::kKey, "this is not a key file: " + std::string(problem),
                    "A key file has a line that begins with 'holdfast-key-1'. Take the file that "
                    "'holdfast init' or 'holdfast key export' wrote, whole and unchanged.");
}

// The text but for comments, line ends made spaces.
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

// The payload and the beginning of its SHA-256; the caller wipes it.
base::Bytes with_checksum(base::ByteView payload) {
  base::Bytes checked;
  checked.reserve(payload.size() + kChecksumSize);
  checked.assign(payload.begin(), payload.end());
  const crypto::Digest digest = crypto::sha256(payload);
  checked.insert(checked.end(), digest.begin(), digest.begin() + kChecksumSize);
  return checked;
}

crypto::SecretText make_text(std::string_view comment, std::string_view type,
                             base::ByteView payload) {
  const WipedBytes checked(with_checksum(payload));
  const crypto::SecretText base64(base::to_base64(checked.bytes));
  std::string text;
  text.reserve(comment.size() + kTag.size() + type.size() + base64.view().size() + 8);
  text.append("# ").append(comment).append("\n");
  text.append(kTag).append(type).append(" ").append(base64.view()).append("\n");
  return crypto::SecretText(std::move(text));
}

std::string_view type_of(const Keyring& keyring) {
  return keyring.can_read_data() ? kFull : kWriteOnly;
}

std::string_view comment_on(const Keyring& keyring) {
  return keyring.can_read_data()
             ? "All keys of a Holdfast repository: whoever has this file reads every backup."
             : "Holdfast: takes backups and archives WAL with this, and cannot read them back.";
}

// Where a key is printed in lines, their number, and the lines; nullopt for one of base64.
struct TypedLines {
  std::size_t count = 0;
  std::string_view lines;
};
std::optional<TypedLines> find_typed_lines(std::string_view text) {
  while (!text.starts_with(kTag)) {  // comments; parse_key_file has seen that the tag is there
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view head = text.substr(0, end);
  while (!head.empty() && (head.back() == ' ' || head.back() == '\r')) head.remove_suffix(1);
  if (!head.ends_with(kLines)) return std::nullopt;
  head.remove_suffix(kLines.size());
  const std::string_view digits = head.substr(head.rfind(' ') + 1);
  TypedLines found;
  const auto [rest, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), found.count);
  if (error != std::errc() || rest != digits.data() + digits.size()) return std::nullopt;
  found.lines = text.substr(end);
  return found;
}

}  // namespace

Credential parse_key_file(const crypto::SecretText& text) {
  const crypto::SecretText content = strip(text.view());
  std::string_view rest = content.view();
  if (!rest.starts_with(kTag)) not_a_key("it does not begin with 'holdfast-key-1'");
  rest.remove_prefix(kTag.size());
  std::string type(rest.substr(0, rest.find(' ')));
  rest.remove_prefix(std::min(type.size(), rest.size()));
  std::ranges::transform(type, type.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });

  WipedBytes checked;
  if (const auto typed = find_typed_lines(text.view())) {
    checked.bytes = from_typed_lines(typed->lines, typed->count);
  } else if (!base::from_base64(rest, checked.bytes)) {
    not_a_key("it is cut off or altered");
  }
  if (checked.bytes.size() <= kChecksumSize) not_a_key("it is cut off or altered");
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
  return make_text(comment_on(keyring), type_of(keyring), payload.bytes);
}

crypto::SecretText print_key_file(const Keyring& keyring, base::Time now) {
  const WipedBytes payload(encode_keyring(keyring));
  const WipedBytes checked(with_checksum(payload.bytes));
  const crypto::SecretText lines = to_typed_lines(checked.bytes);
  const std::string head = fmt::format(
      "# {}\n"
      "# Repository {}, exported {}.\n"
      "#\n"
      "# Print it, and keep it away from this machine and from the repository.\n"
      "# To use it, give a file with it mode 600 and name that file as key_file: in "
      "holdfast.yaml.\n"
      "# Typed in by hand it needs the line that begins with {}and all that follow it.\n"
      "# Each ends in four characters that check it. Small letters and spaces do not matter;\n"
      "# the letter O counts as 0, I and L as 1; there is no U.\n"
      "# Without Holdfast: contrib/read_repository.py reads the repository with such a file.\n"
      "{}{} {}{}\n",
      comment_on(keyring), keyring.repository.hex(),
      base::format_time(std::chrono::floor<std::chrono::seconds>(now)), kTag, kTag,
      type_of(keyring), count_typed_lines(checked.bytes.size()), kLines);
  std::string text;
  text.reserve(head.size() + lines.view().size());
  text.append(head).append(lines.view());
  return crypto::SecretText(std::move(text));
}

}  // namespace holdfast::repository
