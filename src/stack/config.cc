#include "stack/config.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "stack/nearest.h"
#include "stack/schema.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

std::string home_directory() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return home;
  const passwd* user = ::getpwuid(::geteuid());
  return user == nullptr ? "/" : user->pw_dir;
}

// Turns checked values into a Config; what it reads has the type that the schema asks for.
class Builder {
 public:
  Builder(const fs::path& file, const Value& root) : root_(root) { config_.file = file; }

  Config build() {
    config_.stack = text(root_, "stack");
    for (const Entry& entry : entries("repositories")) add_repository(entry);
    if (config_.repositories.empty()) {
      throw config_error(config_.file, root_.at, "repositories is empty: name at least one");
    }
    for (const Entry& entry : entries("components")) add_component(entry);
    leave_out_repositories();
    for (const Entry& entry : entries("jobs")) add_job(entry);
    for (const Entry& entry : entries("plans")) check_plan(entry);
    read_wal();
    read_limits();
    if (root_.find("scratch") != nullptr) config_.scratch = path(text(root_, "scratch"));
    note_what_has_no_effect();
    return std::move(config_);
  }

 private:
  static std::string text(const Value& map, std::string_view key) {
    const Value* value = map.find(key);
    return value == nullptr ? std::string() : value->text;
  }

  static std::vector<std::string> texts(const Value& map, std::string_view key) {
    std::vector<std::string> result;
    const Value* value = map.find(key);
    if (value == nullptr) return result;
    for (const Value& item : items_of(*value)) result.push_back(item.text);
    return result;
  }

  const std::vector<Entry>& entries(std::string_view key) const {
    static const std::vector<Entry> kNone;
    const Value* value = root_.find(key);
    return value == nullptr ? kNone : value->entries;
  }

  // "~" is the home directory; what is relative counts from the configuration's own directory.
  std::string path(const std::string& given) const {
    if (given == "~" || given.starts_with("~/")) return home_directory() + given.substr(1);
    return (config_.file.parent_path() / given).lexically_normal().string();
  }

  SecretSource secret(const Value& map, std::string_view key) const {
    const Value* value = map.find(key);
    if (value == nullptr) return {};
    const Entry& source = value->entries.front();
    const std::string at = where(config_.file, source.value.at);
    if (source.key == "env") return {SecretSource::Kind::kEnvironment, source.value.text, at};
    return {SecretSource::Kind::kFile, path(source.value.text), at};
  }

  void add_repository(const Entry& entry) {
    const Value& value = entry.value;
    RepositoryConfig repository;
    repository.name = entry.key;
    repository.where = where(config_.file, entry.at);
    repository.url = text(value, "url");
    if (!repository.is_directory() && !repository.url.starts_with("s3://")) {
      throw config_error(config_.file, value.find("url")->at,
                         "a repository's url must be a directory or s3://bucket/prefix");
    }
    if (repository.is_directory()) {
      refuse_s3_keys(config_.file, value);
      repository.url = path(repository.url);
    } else {
      read_bucket(value, repository);
    }
    if (value.find("key_file") != nullptr) repository.key_file = path(text(value, "key_file"));
    repository.passphrase = secret(value, "passphrase");
    if (value.find("compression") != nullptr) {
      repository.compression = std::stoi(text(value, "compression"));
    }
    config_.repositories.push_back(std::move(repository));
  }

  void read_bucket(const Value& value, RepositoryConfig& repository) const {
    repository.s3 =
        read_s3(config_.file, value, [&](const std::string& given) { return path(given); });
    if (const Value* limits = root_.find("limits")) {
      repository.s3.options.rate_bytes = base::parse_size(text(*limits, "rate")).value_or(0);
    }
    while (repository.url.ends_with('/')) repository.url.pop_back();
  }

  void add_component(const Entry& entry) {
    const Value& value = entry.value;
    ComponentConfig component{.name = entry.key,
                              .type = text(value, "type"),
                              .connection = text(value, "connection"),
                              .dumps = texts(value, "dumps"),
                              .include = texts(value, "include"),
                              .exclude = texts(value, "exclude"),
                              .after_restore = text(value, "after_restore"),
                              .where = where(config_.file, entry.at)};
    // "." is the root itself: all of it.
    if (std::any_of(component.include.begin(), component.include.end(),
                    [](const std::string& pattern) { return pattern == "." || pattern == "./"; })) {
      component.include.clear();
    }
    if (value.find("root") != nullptr) component.root = path(text(value, "root"));
    if (value.find("audit") != nullptr) {
      component.audit_share = parse_share(text(value, "audit")).value_or(component.audit_share);
    }
    if (const Value* own = value.find("repository"))
      component.repositories = repository_names(*own);
    config_.components.push_back(std::move(component));
  }

  // A repository below the root of files is no part of them: each backup would hold the ones
  // before.
  void leave_out_repositories() {
    for (ComponentConfig& component : config_.components) {
      if (component.root.empty()) continue;
      for (const RepositoryConfig& repository : config_.repositories) {
        if (!repository.is_directory()) continue;
        leave_out(repository.url, component.root, component);
        std::error_code problem;  // one that cannot be looked at is as it is written
        const fs::path url = fs::weakly_canonical(repository.url, problem);
        const fs::path root = fs::weakly_canonical(component.root, problem);
        if (!problem) leave_out(url, root, component);
      }
    }
  }

  static void leave_out(const fs::path& repository, const fs::path& root,
                        ComponentConfig& component) {
    const fs::path below = repository.lexically_relative(root);
    if (below.empty() || *below.begin() == ".." || below == ".") return;
    std::string pattern = "/";
    for (const char c : below.string()) {
      if (std::string_view("*?[\\").find(c) != std::string_view::npos) pattern += '\\';
      pattern += c;
    }
    pattern += '/';
    auto& exclude = component.exclude;
    if (std::find(exclude.begin(), exclude.end(), pattern) == exclude.end()) {
      exclude.push_back(std::move(pattern));
    }
  }

  void add_job(const Entry& entry) {
    const Value& value = entry.value;
    JobConfig job;
    job.name = entry.key;
    job.at = text(value, "at");
    if (const Value* what = value.find("backup")) job.backup = component_names(*what);
    if (value.find("kind") != nullptr) job.kind = text(value, "kind");
    if (value.find("keep") != nullptr) job.keep = base::parse_duration(text(value, "keep"));
    if (const Value* where_to = value.find("repository")) {
      job.repositories = repository_names(*where_to);
    }
    if (const Value* plan = value.find("drill")) {
      std::vector<std::string_view> plans;
      for (const Entry& known : entries("plans")) plans.push_back(known.key);
      expect_known(*plan, "plan", plans);
    }
    config_.jobs.push_back(std::move(job));
  }

  static std::vector<Value> items_of(const Value& value) {
    return value.kind == Value::Kind::kList ? value.items : std::vector<Value>{value};
  }

  std::vector<std::string> repository_names(const Value& value) const {
    std::vector<std::string> result;
    for (const Value& item : items_of(value)) {
      expect_known(item, "repository", names(config_.repositories));
      if (std::find(result.begin(), result.end(), item.text) != result.end()) {
        throw config_error(config_.file, item.at,
                           fmt::format("the repository \"{}\" is named twice", item.text));
      }
      result.push_back(item.text);
    }
    return result;
  }

  std::vector<std::string> component_names(const Value& value) const {
    const bool all = value.text == "all";
    std::vector<std::string> result;
    if (all) {
      for (const auto& component : config_.components) result.push_back(component.name);
      return result;
    }
    for (const Value& item : items_of(value)) {
      expect_known(item, "component", names(config_.components));
      result.push_back(item.text);
    }
    return result;
  }

  void check_plan(const Entry& plan) const {
    for (const Value& step : plan.value.find("steps")->items) {
      const Value* component = step.find("restore");
      if (component == nullptr) continue;
      expect_known(*component, "component", names(config_.components));
    }
  }

  void read_wal() {
    const Value* wal = root_.find("wal");
    if (wal == nullptr) return;
    if (wal->find("keep") != nullptr) {
      config_.wal.keep = base::parse_duration(text(*wal, "keep"));
    }
    if (wal->find("compression") != nullptr) {
      config_.wal.compression = std::stoi(text(*wal, "compression"));
    }
    if (wal->find("push_ahead") != nullptr) {
      config_.wal.push_ahead = std::stoi(text(*wal, "push_ahead"));
    }
    if (wal->find("fetch_ahead") != nullptr) {
      config_.wal.fetch_ahead = std::stoi(text(*wal, "fetch_ahead"));
    }
  }

  void read_limits() {
    const Value* limits = root_.find("limits");
    if (limits == nullptr) return;
    const std::string workers = text(*limits, "workers");
    if (!workers.empty() && workers != "auto") config_.limits.workers = std::stoi(workers);
    if (limits->find("rate") != nullptr) {
      config_.limits.rate_bytes = base::parse_size(text(*limits, "rate")).value_or(0);
    }
    config_.limits.low_priority = text(*limits, "low_priority") == "true";
  }

  void note_what_has_no_effect() {
    if (root_.find("jobs") != nullptr) config_.without_effect.emplace_back("jobs.*.at");
    for (const std::string_view section : {"notify", "metrics", "plans"}) {
      if (root_.find(section) != nullptr) config_.without_effect.emplace_back(section);
    }
    for (const Entry& component : entries("components")) {
      if (component.value.find("checks") == nullptr) continue;
      config_.without_effect.push_back(fmt::format("components.{}.checks", component.key));
    }
  }

  template <typename Named>
  static std::vector<std::string_view> names(const std::vector<Named>& items) {
    std::vector<std::string_view> result;
    for (const Named& item : items) result.push_back(item.name);
    return result;
  }

  void expect_known(const Value& value, std::string_view what,
                    const std::vector<std::string_view>& known) const {
    if (std::find(known.begin(), known.end(), value.text) != known.end()) return;
    throw config_error(config_.file, value.at,
                       fmt::format("there is no {} called \"{}\"", what, value.text),
                       suggest(value.text, known));
  }

  const Value& root_;
  Config config_;
};

template <typename Named>
const Named& find_named(const std::vector<Named>& items, const std::string& name,
                        std::string_view what) {
  for (const Named& item : items) {
    if (item.name == name) return item;
  }
  std::vector<std::string_view> names;
  for (const Named& item : items) names.push_back(item.name);
  throw Error(ErrorKind::kUsage,
              fmt::format("the configuration has no {} called \"{}\"", what, name),
              suggest(name, names));
}

}  // namespace

const RepositoryConfig& Config::repository(const std::string& name) const {
  return name.empty() ? repositories.front() : find_named(repositories, name, "repository");
}

const ComponentConfig& Config::component(const std::string& name) const {
  return find_named(components, name, "component");
}

ComponentConfig Config::component_or_dump(const std::string& name) const {
  for (const ComponentConfig& known : components) {
    if (known.name == name) return known;
  }
  for (const ComponentConfig& known : components) {
    if (!name.starts_with(known.name + ".") || known.type != "postgresql") continue;
    return {.name = name, .type = "dump", .repositories = known.repositories, .where = known.where};
  }
  return component(name);
}

const JobConfig& Config::job(const std::string& name) const {
  return find_named(jobs, name, "job");
}

std::vector<std::string> Config::repositories_for(const ComponentConfig& component,
                                                  const std::vector<std::string>& wanted) const {
  const std::vector<std::string>& own = component.repositories;
  if (own.empty()) {
    return wanted.empty() ? std::vector<std::string>{repositories.front().name} : wanted;
  }
  std::vector<std::string> both;
  std::copy_if(own.begin(), own.end(), std::back_inserter(both), [&](const std::string& name) {
    return std::find(wanted.begin(), wanted.end(), name) != wanted.end();
  });
  return both.empty() ? own : both;
}

fs::path find_config(const std::string& given) {
  const auto absolute = [](const fs::path& file) { return fs::absolute(file).lexically_normal(); };
  const auto expect = [&](const fs::path& file, std::string_view source) {
    std::error_code ignored;
    if (fs::exists(file, ignored)) return absolute(file);
    throw Error(ErrorKind::kConfig,
                fmt::format("there is no configuration file {} ({})", file.string(), source));
  };
  if (!given.empty()) return expect(given, "from -c");
  if (const char* variable = std::getenv("HOLDFAST_CONFIG"); variable != nullptr && *variable) {
    return expect(variable, "from $HOLDFAST_CONFIG");
  }
  for (const char* file : {"holdfast.yaml", "/etc/holdfast/holdfast.yaml"}) {
    std::error_code ignored;
    if (fs::exists(file, ignored)) return absolute(file);
  }
  throw Error(ErrorKind::kConfig,
              "there is no configuration: neither ./holdfast.yaml nor /etc/holdfast/holdfast.yaml",
              "name one with -c FILE or $HOLDFAST_CONFIG; `holdfast help configuration` shows what "
              "it holds");
}

Config load_config(const fs::path& file) {
  const fs::path absolute = fs::absolute(file).lexically_normal();
  const Value root = [&] {
    try {
      return read_values(absolute);
    } catch (const Error& error) {
      // Whatever keeps it from being read, it is the configuration that is at fault.
      if (error.kind() == ErrorKind::kConfig) throw;
      throw Error(ErrorKind::kConfig, fmt::format("reading the configuration: {}", error.what()),
                  error.hint());
    }
  }();
  check_values(absolute, root, configuration_schema());
  return Builder(absolute, root).build();
}

}  // namespace holdfast::stack
