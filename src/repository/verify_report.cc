// Reports as objects: what was verified, when, and what was found.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "repository/sealed_object.h"
#include "repository/verify.h"

namespace holdfast::repository {
namespace {

constexpr std::string_view kPrefix = "reports/";

struct StoredReport {
  base::Time finished;
  std::vector<std::string> whole;  // backups that were read whole and found without damage
};

StoredReport decode(base::ByteView body) {
  const nlohmann::json report = nlohmann::json::parse(base::as_text(body));
  StoredReport result;
  if (report.at("kind") != "verify" || !report.at("full").get<bool>()) return result;
  const auto finished = base::parse_time(report.at("finished").get<std::string>(), {});
  if (!finished) return result;
  result.finished = *finished;
  for (const nlohmann::json& backup : report.at("backups")) {
    const auto is_among = [&](const nlohmann::json& items) {
      return std::any_of(items.begin(), items.end(),
                         [&](const nlohmann::json& item) { return item.at("backup") == backup; });
    };
    if (is_among(report.at("damaged")) || is_among(report.value("frozen", nlohmann::json::array())))
      continue;
    result.whole.push_back(backup.get<std::string>());
  }
  return result;
}

}  // namespace

void put_verify_report(const Context& context, const VerifyOptions& options,
                       const VerifyReport& report) {
  const auto list = [](const std::vector<Damage>& items) {
    nlohmann::json result = nlohmann::json::array();
    for (const Damage& item : items) {
      result.push_back(
          {{"object", item.object}, {"backup", item.backup}, {"problem", item.problem}});
    }
    return result;
  };
  nlohmann::json body = {{"kind", "verify"},
                         {"started", base::format_time(report.started)},
                         {"finished", base::format_time(report.finished)},
                         {"full", !options.quick},
                         {"backups", options.backups},
                         {"checked", report.checked},
                         {"damaged", list(report.damaged)}};
  if (!report.frozen.empty()) body["frozen"] = list(report.frozen);
  const std::string name = std::string(kPrefix) + ReportId::make(context.random).hex();
  // A problem may quote a name that is not UTF-8.
  put_metadata(context, name, MetadataKind::kReport,
               base::as_bytes(body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
}

std::map<std::string, base::Time> verified_times(const Context& context) {
  std::vector<std::string> names;
  context.storage.list(kPrefix,
                       [&](const storage::ObjectInfo& info) { names.push_back(info.name); });
  std::map<std::string, base::Time> times;
  for (const std::string& name : names) {
    try {
      const auto body = get_metadata(context, name, MetadataKind::kReport);
      if (!body) continue;  // removed since it was listed
      const StoredReport report = decode(*body);
      for (const std::string& backup : report.whole) {
        base::Time& time = times[backup];
        time = std::max(time, report.finished);
      }
    } catch (const base::Error& error) {
      if (error.kind() != base::ErrorKind::kDamaged) throw;  // verify names it
    } catch (const nlohmann::json::exception&) {
      continue;  // of another program's version
    }
  }
  return times;
}

}  // namespace holdfast::repository
