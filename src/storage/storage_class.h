// Amazon's classes of storage: which must be thawed before they are read, how long an object is
// paid for at the least, and about what that costs. docs/tiers.md has the same tables. Other
// stores use the names too, and have prices of their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "storage/object_store.h"

namespace holdfast::storage {

// US dollars, Amazon's list prices for us-east-1.
inline constexpr std::string_view kPriceSource = "https://aws.amazon.com/s3/pricing/";
inline constexpr std::string_view kPriceDate = "January 2025";
inline constexpr double kStandardGbMonth = 0.023;  // a copy that was thawed costs this too

struct ThawTerms {
  ThawSpeed speed = ThawSpeed::kStandard;
  std::chrono::minutes least{};  // until it can be read
  std::chrono::minutes most{};
  double gb = 0;
  double thousand_objects = 0;
};

struct StorageClass {
  std::string_view name;
  double gb_month = 0;
  std::chrono::days minimum{};        // paid for, however early it is removed
  std::span<const ThawTerms> thaw{};  // not empty: frozen, and reading is refused until then
  bool is_frozen() const { return !thaw.empty(); }
};

// Null for a name that is none of Amazon's; empty is the usual class.
const StorageClass* find_storage_class(std::string_view name);
// Whether objects of a class of that name may have to be thawed.
bool may_be_frozen(std::string_view storage_class);

std::string_view name_of(ThawSpeed speed);  // "bulk", "standard", "expedited"

double gigabytes(std::uint64_t bytes);  // as they are billed: of 2^30 bytes
double storage_cost(const StorageClass& storage_class, std::uint64_t bytes,
                    std::chrono::microseconds time);
// What is asked of `terms`, with the copies that are kept for so many days.
double thaw_cost(const ThawTerms& terms, std::uint64_t objects, std::uint64_t bytes, int days);

}  // namespace holdfast::storage
