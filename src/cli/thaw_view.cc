#include "cli/thaw_view.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "cli/backup_view.h"
#include "cli/commands.h"
#include "cli/error_json.h"
#include "cli/text_table.h"
#include "storage/storage_class.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using repository::ThawEstimate;
using repository::ThawReport;

constexpr int kMostDays = 365;

json totals_json(const repository::PackTotals& totals) {
  return {{"packs", totals.packs}, {"bytes", totals.bytes}};
}

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

json thaw_json(const ThawReport& report) {
  json estimates = json::array();
  for (const ThawEstimate& estimate : report.estimates) {
    estimates.push_back({{"speed", storage::name_of(estimate.speed)},
                         {"least_seconds", seconds(estimate.least)},
                         {"most_seconds", seconds(estimate.most)},
                         {"dollars", estimate.dollars}});
  }
  json requested;
  if (report.requested) requested = storage::name_of(*report.requested);
  return {{"frozen", totals_json(report.frozen)},
          {"under_way", totals_json(report.under_way)},
          {"thawed", totals_json(report.thawed)},
          {"thawed_until", time_json(report.thawed_until)},
          {"storage_classes", report.storage_classes},
          {"waiting_for", report.waiting_for},
          {"requested", requested},
          {"days", report.days},
          {"estimates", estimates},
          {"prices", {{"source", storage::kPriceSource}, {"as_of", storage::kPriceDate}}}};
}

void print_estimates(Session& session, const ThawReport& report) {
  if (report.estimates.empty()) return;
  TextTable table({"SPEED", "TAKES", ">ABOUT"});
  for (const ThawEstimate& estimate : report.estimates) {
    table.add({std::string(storage::name_of(estimate.speed)),
               fmt::format("{} to {}", base::format_duration(estimate.least),
                           base::format_duration(estimate.most)),
               fmt::format("${:.2f}", estimate.dollars)});
  }
  session.note(table.text());
  session.note(
      fmt::format("By Amazon's list prices of us-east-1 in {}, with copies kept for {} days; other "
                  "regions and other stores differ.",
                  storage::kPriceDate, report.days));
}

void print_requested(Session& session, const ThawReport& report) {
  session.print(fmt::format("thawing: {} packs ({}), of them {} that were under way already",
                            report.frozen.packs + report.under_way.packs,
                            base::format_size(report.frozen.bytes + report.under_way.bytes),
                            report.under_way.packs));
  for (const ThawEstimate& estimate : report.estimates) {
    if (estimate.speed != report.requested) continue;
    session.print(fmt::format(
        "come back in {} to {}: the same restore goes on then, and the "
        "copies stay for {} days",
        base::format_duration(estimate.least), base::format_duration(estimate.most), report.days));
  }
}

}  // namespace

repository::ThawRequest thaw_request(const Arguments& arguments) {
  repository::ThawRequest request;
  if (const auto speed = arguments.value("--thaw")) {
    for (const auto known : {storage::ThawSpeed::kBulk, storage::ThawSpeed::kStandard,
                             storage::ThawSpeed::kExpedited}) {
      if (storage::name_of(known) == *speed) request.speed = known;
    }
  }
  if (const auto days = arguments.value("--thaw-days")) {
    const char* end = days->data() + days->size();
    const auto [last, error] = std::from_chars(days->data(), end, request.days);
    if (error != std::errc{} || last != end || request.days < 1 || request.days > kMostDays) {
      throw base::Error(
          base::ErrorKind::kUsage,
          fmt::format("--thaw-days is a number from 1 to {}, not \"{}\"", kMostDays, *days));
    }
  }
  request.wait = arguments.has("--wait");
  return request;
}

int report_frozen(Session& session, const std::string& component,
                  const repository::FrozenError& error) {
  const ThawReport& report = error.report();
  json document = {{"component", component}, {"thaw", thaw_json(report)}};
  if (session.verbose()) {
    for (const std::string& name : report.waiting_for) session.note(name);
  }
  int status = kAttention;
  if (report.requested) {
    print_requested(session, report);
  } else {
    print_estimates(session, report);
    session.error(error);
    document["error"] = error_json(error);
    status = base::info(error.kind()).exit_status;
  }
  if (session.json()) session.print_json(document);
  return status;
}

}  // namespace holdfast::cli
