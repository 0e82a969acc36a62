#include "storage/storage_class.h"

#include <algorithm>
#include <array>

namespace holdfast::storage {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;

constexpr double kDaysInMonth = 30;

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html
constexpr std::array<ThawTerms, 3> kGlacierTerms{{
    {ThawSpeed::kBulk, hours(5), hours(12), 0, 0},
    {ThawSpeed::kStandard, hours(3), hours(5), 0.01, 0.05},
    {ThawSpeed::kExpedited, minutes(1), minutes(5), 0.03, 10},
}};
constexpr std::array<ThawTerms, 2> kDeepArchiveTerms{{
    {ThawSpeed::kBulk, hours(12), hours(48), 0.0025, 0.025},
    {ThawSpeed::kStandard, hours(9), hours(12), 0.02, 0.1},
}};

constexpr std::array<StorageClass, 8> kClasses{{
    {"STANDARD", kStandardGbMonth},
    {"REDUCED_REDUNDANCY", 0.024},
    {"INTELLIGENT_TIERING", kStandardGbMonth},
    {"STANDARD_IA", 0.0125, days(30)},
    {"ONEZONE_IA", 0.01, days(30)},
    {"GLACIER_IR", 0.004, days(90)},
    {"GLACIER", 0.0036, days(90), kGlacierTerms},
    {"DEEP_ARCHIVE", 0.00099, days(180), kDeepArchiveTerms},
}};

}  // namespace

const StorageClass* find_storage_class(std::string_view name) {
  if (name.empty()) return &kClasses.front();
  const auto place = std::find_if(kClasses.begin(), kClasses.end(),
                                  [&](const StorageClass& one) { return one.name == name; });
  return place == kClasses.end() ? nullptr : &*place;
}

bool may_be_frozen(std::string_view storage_class) {
  if (storage_class.empty()) return false;
  const StorageClass* found = find_storage_class(storage_class);
  return found != nullptr && found->is_frozen();
}

std::string_view name_of(ThawSpeed speed) {
  switch (speed) {
    case ThawSpeed::kBulk:
      return "bulk";
    case ThawSpeed::kStandard:
      return "standard";
    case ThawSpeed::kExpedited:
      return "expedited";
  }
  return "";
}

double gigabytes(std::uint64_t bytes) { return static_cast<double>(bytes) / (1024. * 1024 * 1024); }

double storage_cost(const StorageClass& storage_class, std::uint64_t bytes,
                    std::chrono::microseconds time) {
  const double in_days = std::chrono::duration<double, days::period>(time).count();
  return gigabytes(bytes) * storage_class.gb_month * in_days / kDaysInMonth;
}

double thaw_cost(const ThawTerms& terms, std::uint64_t objects, std::uint64_t bytes,
                 int days_kept) {
  return gigabytes(bytes) * (terms.gb + kStandardGbMonth * days_kept / kDaysInMonth) +
         static_cast<double>(objects) / 1000 * terms.thousand_objects;
}

}  // namespace holdfast::storage
