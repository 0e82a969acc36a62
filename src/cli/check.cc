#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/concurrency.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/restore_command.h"
#include "cli/session.h"
#include "stack/component.h"
#include "stack/repository_check.h"

namespace holdfast::cli {
namespace {

using stack::Finding;
using stack::Verdict;

std::string_view word_for(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return "good";
    case Verdict::kAttention:
      return "attention";
    case Verdict::kBad:
      break;
  }
  return "bad";
}

std::string line_for(const Finding& finding, bool several_repositories) {
  const std::string_view mark = finding.verdict == Verdict::kGood        ? "good "
                                : finding.verdict == Verdict::kAttention ? "look "
                                                                         : "BAD  ";
  std::string whose = finding.component.empty() ? "" : finding.component + ": ";
  if (several_repositories && !finding.repository.empty()) whose = finding.repository + ": ";
  const std::string advice = finding.advice.empty() ? "" : fmt::format(" -> {}", finding.advice);
  return fmt::format("{} {}{}: {}{}", mark, whose, finding.what, finding.detail, advice);
}

nlohmann::json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
}

class CheckRun {
 public:
  explicit CheckRun(Session& session) : session_(session) {}

  int run() {
    const stack::Findings report = [this](Finding finding) { take(std::move(finding)); };
    check_configuration();
    check_repositories(report);
    const repository::Context* context = archive_ ? &archive_->context() : nullptr;
    for (const stack::ComponentConfig& config : session_.config().components) {
      base::throw_if_stopped(session_.stop());
      check_component(config, context, report);
    }
    if (session_.json()) {
      session_.print_json({{"ok", worst_ != Verdict::kBad}, {"findings", findings_}});
    }
    if (damaged_) return kDamaged;
    return worst_ == Verdict::kBad ? kFailed : worst_ == Verdict::kAttention ? kAttention : kDone;
  }

 private:
  void take(Finding finding) {
    worst_ = std::max(worst_, finding.verdict);
    session_.print(line_for(finding, several_));
    std::fflush(session_.out());  // some tests take seconds: what is known is shown
    findings_.push_back({{"verdict", word_for(finding.verdict)},
                         {"what", finding.what},
                         {"detail", finding.detail},
                         {"advice", finding.advice},
                         {"component", text_or_null(finding.component)},
                         {"repository", text_or_null(finding.repository)}});
  }

  // Components archive to the one that -r names, or to the default: against that they are tried.
  void check_repositories(const stack::Findings& report) {
    const auto repositories = session_.repository_configs(session_.all_repositories());
    several_ = repositories.size() > 1;
    for (const stack::RepositoryConfig* config : repositories) {
      base::throw_if_stopped(session_.stop());
      auto result = stack::check_repository(*config, session_.clock(), session_.random(), report);
      damaged_ = damaged_ || result.failure == base::ErrorKind::kDamaged;
      if (config == &session_.repository_config()) archive_ = std::move(result.repository);
    }
  }

  void check_configuration() {
    const stack::Config& config = session_.config();
    take({Verdict::kGood,
          "configuration",
          fmt::format("{} (components: {}, repositories: {})", config.file.string(),
                      config.components.size(), config.repositories.size()),
          {},
          {}});
    if (config.components.empty()) {
      take({Verdict::kAttention,
            "configuration",
            "no component is configured",
            "say below `components` what is to be backed up",
            {}});
    }
    for (const std::string& section : config.without_effect) {
      take({Verdict::kAttention,
            "configuration",
            fmt::format("`{}` has no effect in this version yet", section),
            "do not count on it",
            {}});
    }
  }

  void check_component(const stack::ComponentConfig& config, const repository::Context* context,
                       const stack::Findings& report) {
    const auto component = stack::find_component(config);
    if (!component) {
      return take(
          {Verdict::kAttention, "type",
           fmt::format("components of type {} are not supported by this version yet", config.type),
           "it is not backed up", config.name});
    }
    try {
      component->check(context, {.archive_command = archive_command(session_, config.name)},
                       report);
    } catch (const base::Error& error) {
      if (error.kind() == base::ErrorKind::kInterrupted) throw;
      take({Verdict::kBad, "check", error.what(), error.hint(), config.name});
    }
  }

  Session& session_;
  nlohmann::json findings_ = nlohmann::json::array();
  Verdict worst_ = Verdict::kGood;
  std::unique_ptr<repository::Repository> archive_;
  bool several_ = false;  // repositories
  bool damaged_ = false;
};

}  // namespace

int run_check(Session& session) { return CheckRun(session).run(); }

}  // namespace holdfast::cli
