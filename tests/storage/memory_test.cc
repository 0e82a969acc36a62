#include "storage/memory.h"

#include "storage/contract.h"

namespace holdfast::storage {
namespace {

INSTANTIATE_TEST_SUITE_P(Memory, StorageContract,
                         testing::Values(ContractSubject{"memory", [] { return open_memory(); }}),
                         subject_name);

}  // namespace
}  // namespace holdfast::storage
