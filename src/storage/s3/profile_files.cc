#include "storage/s3/profile_files.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "storage/s3/credential_places.h"

namespace holdfast::storage::s3 {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = std::size_t{1024} * 1024;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// "[profile backup]" is called backup. Empty where the line begins no section.
std::string_view profile_of(std::string_view line) {
  if (!line.starts_with('[')) return {};
  std::string_view name = trimmed(line.substr(1, line.find(']') - 1));
  constexpr std::string_view kWord = "profile";
  if (name.starts_with(kWord) && name.size() > kWord.size() &&
      (name[kWord.size()] == ' ' || name[kWord.size()] == '\t')) {
    name = trimmed(name.substr(kWord.size()));
  }
  return name;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

fs::path home_directory() {
  std::string home = environment("HOME");
  if (!home.empty()) return home;
  const passwd* user = ::getpwuid(::geteuid());
  return user == nullptr ? "/" : user->pw_dir;
}

fs::path given_or_home(const char* variable, const char* usual) {
  const std::string given = environment(variable);
  if (given.starts_with("~/")) return home_directory() / given.substr(2);
  return given.empty() ? home_directory() / usual : fs::path(given);
}

}  // namespace

ProfileFile ProfileFile::read(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return {};
  return parse(crypto::SecretText(base::read_text_file(path, kMaxFileBytes)));
}

ProfileFile ProfileFile::parse(crypto::SecretText text) {
  ProfileFile file;
  file.text_ = std::move(text);
  file.exists_ = true;
  return file;
}

// each(profile, key, value); for the line that begins a section the key is empty. Settings within
// settings ("s3 =" and indented lines below it) are left out.
template <typename Each>
void ProfileFile::for_each_line(Each&& each) const {
  std::string_view profile;
  bool nested = false;
  for (std::string_view rest = text_.view(); !rest.empty();) {
    const std::string_view raw = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(raw.size() + 1, rest.size()));
    const std::string_view line = trimmed(raw);
    if (line.empty() || line.starts_with('#') || line.starts_with(';')) continue;
    if (line.starts_with('[')) {
      profile = profile_of(line);
      nested = false;
      each(profile, std::string_view(), std::string_view());
      continue;
    }
    const bool indented = raw.starts_with(' ') || raw.starts_with('\t');
    if (indented && nested) continue;
    const std::size_t sign = line.find('=');
    const std::string_view key = trimmed(line.substr(0, sign));
    if (key.empty() || sign == std::string_view::npos) continue;
    const std::string_view value = trimmed(line.substr(sign + 1));
    nested = value.empty();
    each(profile, key, value);
  }
}

bool ProfileFile::has(std::string_view profile) const {
  bool found = false;
  for_each_line([&](std::string_view name, std::string_view, std::string_view) {
    found = found || name == profile;
  });
  return found;
}

std::string_view ProfileFile::value(std::string_view profile, std::string_view key) const {
  std::string_view found;
  for_each_line([&](std::string_view name, std::string_view its_key, std::string_view value) {
    if (name == profile && equals_ignoring_case(its_key, key)) found = value;
  });
  return found;
}

std::vector<std::string> ProfileFile::profiles() const {
  std::vector<std::string> names;
  for_each_line([&](std::string_view name, std::string_view key, std::string_view) {
    if (key.empty() && !name.empty()) names.emplace_back(name);
  });
  return names;
}

Profile Profile::read(const CredentialOptions& options) {
  Profile profile;
  profile.name_ = options.profile;
  if (profile.name_.empty()) profile.name_ = environment("AWS_PROFILE");
  profile.named_ = !profile.name_.empty();
  if (!profile.named_) profile.name_ = "default";
  const fs::path credentials = credentials_file(options);
  profile.credentials_ = ProfileFile::read(credentials);
  profile.places_ = credentials.string();
  if (!options.file.empty()) return profile;
  const fs::path config = given_or_home("AWS_CONFIG_FILE", ".aws/config");
  profile.config_ = ProfileFile::read(config);
  profile.places_ += " or " + config.string();
  return profile;
}

std::string_view Profile::value(std::string_view key) const {
  const std::string_view found = credentials_.value(name_, key);
  return found.empty() ? config_.value(name_, key) : found;
}

std::vector<std::string> Profile::known() const {
  std::vector<std::string> names = credentials_.profiles();
  for (std::string& name : config_.profiles()) names.push_back(std::move(name));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

fs::path credentials_file(const CredentialOptions& options) {
  if (!options.file.empty()) return options.file;
  return given_or_home("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
}

std::string usual_region(const CredentialOptions& options) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    std::string region = environment(name);
    if (!region.empty()) return region;
  }
  return std::string(Profile::read(options).value("region"));
}

std::optional<std::vector<std::string>> split_command(std::string_view command) {
  std::vector<std::string> words;
  std::string word;
  bool open = false;  // within a word, which may be empty ('')
  char quote = '\0';
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    const bool space = c == ' ' || c == '\t';
    if (quote == '\0' && space) {
      if (open) words.push_back(std::move(word));
      word.clear();
      open = false;
      continue;
    }
    open = true;
    if (c == '\\' && quote != '\'' && i + 1 < command.size()) {
      word += command[++i];
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote) {
      quote = '\0';
    } else {
      word += c;
    }
  }
  if (quote != '\0') return std::nullopt;
  if (open) words.push_back(std::move(word));
  return words;
}

}  // namespace holdfast::storage::s3
