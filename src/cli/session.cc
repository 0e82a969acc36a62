#include "cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/progress_display.h"
#include "stack/repositories.h"

namespace holdfast::cli {

void print_error(const Streams& streams, const base::Error& error) {
  fmt::print(streams.err, "holdfast: {}\n", error.what());
  if (!error.hint().empty()) fmt::print(streams.err, "hint: {}\n", error.hint());
}

Session::Session(const Arguments& arguments, const Streams& streams, std::stop_token stop)
    : arguments_(arguments), streams_(streams), stop_(std::move(stop)) {}

Session::~Session() = default;

const stack::Config& Session::config() {
  if (!config_) {
    config_ = std::make_unique<stack::Config>(
        stack::load_config(stack::find_config(arguments_.value("--config").value_or(""))));
  }
  return *config_;
}

const stack::RepositoryConfig& Session::repository_config() {
  return config().repository(arguments_.value("--repository").value_or(preferred_repository_));
}

const stack::ComponentConfig* Session::component_named(std::string_view text) {
  const stack::ComponentConfig* found = nullptr;
  for (const stack::ComponentConfig& component : config().components) {
    const std::string& name = component.name;
    const bool fits =
        text.starts_with(name) &&
        (text.size() == name.size() || text[name.size()] == '-' || text[name.size()] == '.');
    if (fits && (found == nullptr || found->name.size() < name.size())) found = &component;
  }
  return found;
}

void Session::prefer_repository_of(std::string_view text) {
  const stack::ComponentConfig* found = component_named(text);
  if (found != nullptr && !found->repositories.empty()) {
    preferred_repository_ = found->repositories.front();
  }
}

Session::RepositoryConfigs Session::repository_configs(RepositoryConfigs preferred) {
  if (arguments_.value("--repository")) return {&repository_config()};
  return preferred;
}

Session::RepositoryConfigs Session::all_repositories() {
  RepositoryConfigs all;
  for (const stack::RepositoryConfig& repository : config().repositories) {
    all.push_back(&repository);
  }
  return all;
}

std::unique_ptr<repository::Repository> Session::open(const stack::RepositoryConfig& repository) {
  return stack::open_repository(repository, clock_, random_);
}

repository::Repository& Session::repository() {
  if (!repository_) repository_ = open(repository_config());
  return *repository_;
}

int Session::workers() {
  const int configured = config().limits.workers;
  return configured > 0 ? configured
                        : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void Session::print(std::string_view line) {
  if (!json()) fmt::print(streams_.out, "{}\n", line);
}

void Session::print_json(const nlohmann::json& document) {
  // Names in a database may be any bytes: what is no UTF-8 is replaced, not an error.
  fmt::print(streams_.out, "{}\n",
             document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void Session::note(std::string_view line) {
  if (!quiet()) fmt::print(streams_.err, "{}\n", line);
}

void Session::warn(std::string_view line) {
  if (!quiet()) fmt::print(streams_.err, "warning: {}\n", line);
}

void Session::error(const base::Error& error) { print_error(streams_, error); }

std::unique_ptr<base::Progress> Session::progress() {
  if (quiet()) return std::make_unique<base::NoProgress>();
  return std::make_unique<ProgressDisplay>(streams_.err, streams_.err_is_terminal, verbose());
}

}  // namespace holdfast::cli
