#include "stack/s3_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/time.h"
#include "stack/nearest.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
namespace s3 = storage::s3;

constexpr std::string_view kLettersAndDigits = "abcdefghijklmnopqrstuvwxyz0123456789";

// Those of Amazon; a store of its own may have others.
constexpr std::array<std::string_view, 8> kStorageClasses = {
    "STANDARD",   "STANDARD_IA", "ONEZONE_IA",   "INTELLIGENT_TIERING",
    "GLACIER_IR", "GLACIER",     "DEEP_ARCHIVE", "REDUCED_REDUNDANCY"};

bool consists_of(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == std::string_view::npos;
}

// Amazon's rule, which all stores can keep.
bool is_bucket_name(std::string_view name) {
  const auto is_edge = [](char c) { return kLettersAndDigits.find(c) != std::string_view::npos; };
  return name.size() >= 3 && name.size() <= 63 &&
         consists_of(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") && is_edge(name.front()) &&
         is_edge(name.back()) && name.find("..") == std::string_view::npos &&
         !consists_of(name, "0123456789.");
}

bool is_prefix(std::string_view prefix) {
  constexpr std::size_t kMaxBytes = 250;  // a key has 1,024 bytes, and the names need theirs
  return prefix.size() <= kMaxBytes && storage::is_valid_name(prefix);
}

class Reader {
 public:
  Reader(const fs::path& file, const Value& repository) : file_(file), repository_(repository) {}

  S3Config read(const std::function<std::string(const std::string&)>& path) {
    read_url();
    read_server(path);
    read_storage_class();
    read_encryption();
    read_lock();
    read_tags();
    options_.first_versions = !text("versions").empty();
    S3Config config{.options = std::move(options_), .credentials = {}};
    if (const Value* source = repository_.find("credentials")) {
      if (const Value* its_file = source->find("file")) {
        config.credentials.file = path(its_file->text);
      }
      if (const Value* profile = source->find("profile")) {
        config.credentials.profile = profile->text;
      }
    }
    return config;
  }

 private:
  std::string text(std::string_view key) const {
    const Value* value = repository_.find(key);
    return value == nullptr ? std::string() : value->text;
  }
  [[noreturn]] void fail(std::string_view key, const std::string& problem,
                         std::string hint = {}) const {
    throw config_error(file_, repository_.find(key)->at, problem, std::move(hint));
  }

  void read_url() {
    std::string_view rest = repository_.find("url")->text;
    rest.remove_prefix(std::string_view("s3://").size());
    options_.bucket = rest.substr(0, rest.find('/'));
    if (!is_bucket_name(options_.bucket)) {
      fail("url", fmt::format("\"{}\" is no bucket's name", options_.bucket),
           "write s3://bucket/prefix; a bucket's name has 3 to 63 of a-z, 0-9, - and ., and begins "
           "and ends with a letter or digit");
    }
    rest.remove_prefix(std::min(options_.bucket.size() + 1, rest.size()));
    while (rest.ends_with('/')) rest.remove_suffix(1);
    options_.prefix = rest;
    if (!rest.empty() && !is_prefix(rest)) {
      fail("url", fmt::format("\"{}\" is no prefix", rest),
           "a prefix is made of words of A-Z, a-z, 0-9, ., _ and - with single / between them");
    }
  }

  void read_server(const std::function<std::string(const std::string&)>& path) {
    options_.endpoint = text("endpoint");
    const std::string_view endpoint = options_.endpoint;
    const std::size_t scheme = endpoint.find("://");
    const bool known = scheme != std::string_view::npos &&
                       (endpoint.starts_with("https://") || endpoint.starts_with("http://"));
    if (!endpoint.empty() && (!known || endpoint.size() == scheme + 3 ||
                              endpoint.find_first_of("?#@ ") != std::string_view::npos)) {
      fail("endpoint", "an endpoint must be a URL of a server, such as https://s3.example.com",
           scheme == std::string_view::npos ? fmt::format("did you mean https://{}?", endpoint)
                                            : "");
    }
    options_.region = text("region");
    if (!consists_of(options_.region,
                     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789-_")) {
      fail("region", "a region is a word such as eu-central-1");
    }
    if (repository_.find("path_style") != nullptr) {
      options_.path_style = text("path_style") == "true";
    }
    if (repository_.find("ca_file") != nullptr) options_.ca_file = path(text("ca_file"));
    options_.proxy = text("proxy");
    // It may hold a password: it is not repeated.
    if (!options_.proxy.empty() && options_.proxy.find("://") == std::string::npos) {
      fail("proxy", "a proxy must be a URL, such as http://proxy.example.com:3128");
    }
  }

  void read_storage_class() {
    options_.storage_class = text("storage_class");
    const bool amazon =
        options_.endpoint.empty() || options_.endpoint.find(".amazonaws.com") != std::string::npos;
    const bool known = std::find(kStorageClasses.begin(), kStorageClasses.end(),
                                 options_.storage_class) != kStorageClasses.end();
    if (options_.storage_class.empty() || known) return;
    if (amazon || !consists_of(options_.storage_class,
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789_-.")) {
      fail("storage_class", fmt::format("there is no storage class {}", options_.storage_class),
           suggest(options_.storage_class, {kStorageClasses.begin(), kStorageClasses.end()}));
    }
  }

  void read_encryption() {
    const Value* encryption = repository_.find("server_side_encryption");
    if (encryption == nullptr) return;
    if (const Value* key = encryption->find("kms_key")) {
      options_.kms_key = key->text;
    } else {
      options_.encrypt = true;
    }
  }

  void read_lock() {
    if (repository_.find("object_lock") == nullptr) return;
    options_.object_lock = base::parse_duration(text("object_lock"));
    if (options_.object_lock <= base::Duration::zero()) {
      fail("object_lock", "object_lock must be longer than nothing",
           "leave the key out where nothing is to be locked");
    }
  }

  // The limits are Amazon's.
  void read_tags() {
    constexpr std::size_t kMost = 10;
    constexpr std::size_t kNameBytes = 128;
    constexpr std::size_t kValueBytes = 256;
    constexpr std::string_view kCharacters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +-=._:/@";
    const Value* tags = repository_.find("tags");
    if (tags == nullptr) return;
    if (tags->entries.size() > kMost) {
      fail("tags", fmt::format("an object has at most {} tags", kMost));
    }
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const Entry& tag : tags->entries) {
      const std::string& value = tag.value.text;
      if (tag.key.empty() || tag.key.size() > kNameBytes || value.size() > kValueBytes ||
          !consists_of(tag.key, kCharacters) || !consists_of(value, kCharacters)) {
        throw config_error(file_, tag.at, fmt::format("\"{}\" cannot be a tag", tag.key),
                           fmt::format("a tag's name has at most {} and its value {} letters, "
                                       "digits, spaces and + - = . _ : / @",
                                       kNameBytes, kValueBytes));
      }
      pairs.emplace_back(tag.key, value);
    }
    options_.tags = s3::encoded_tags(pairs);
  }

  const fs::path& file_;
  const Value& repository_;
  s3::Options options_;
};

}  // namespace

S3Config read_s3(const fs::path& file, const Value& repository,
                 const std::function<std::string(const std::string&)>& path) {
  return Reader(file, repository).read(path);
}

void refuse_s3_keys(const fs::path& file, const Value& repository) {
  constexpr std::array<std::string_view, 11> kKeys = {
      "endpoint",    "region", "credentials",   "path_style",
      "ca_file",     "proxy",  "storage_class", "server_side_encryption",
      "object_lock", "tags",   "versions"};
  for (const Entry& entry : repository.entries) {
    const bool known = std::find(kKeys.begin(), kKeys.end(), entry.key) != kKeys.end();
    if (!known || entry.value.kind == Value::Kind::kNull) continue;
    throw config_error(file, entry.at,
                       fmt::format("\"{}\" is for repositories on s3:// alone", entry.key));
  }
}

}  // namespace holdfast::stack
