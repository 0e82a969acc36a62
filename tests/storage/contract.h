// The contract of storage.h as a suite of tests. A driver or decorator runs it with
//
//   INSTANTIATE_TEST_SUITE_P(Memory, StorageContract,
//                            testing::Values(ContractSubject{"memory", [] { ... }}), subject_name);
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "storage/storage.h"

namespace holdfast::storage {

struct ContractSubject {
  std::string name;  // letters, digits and '_'
  // A new, empty store; what else it needs lives as long as the pointer.
  std::function<std::shared_ptr<Storage>()> make;
  // Of several removals of one object at once, only one says that it was there.
  bool one_remover = true;
};

inline void PrintTo(const ContractSubject& subject, std::ostream* out) { *out << subject.name; }

inline std::string subject_name(const testing::TestParamInfo<ContractSubject>& info) {
  return info.param.name;
}

class StorageContract : public testing::TestWithParam<ContractSubject> {
 protected:
  void SetUp() override { storage_ = GetParam().make(); }

  std::shared_ptr<Storage> storage_;
};

}  // namespace holdfast::storage
