// The contract of storage.h on a real gateway: gateway_test.sh starts it and says where it is.
#include <cstdlib>

#include "storage/contract.h"
#include "storage/gateway/gateway.h"

namespace holdfast::storage {
namespace {

ContractSubject subject(const char* name, const char* endpoint, const char* bucket) {
  return {.name = name,
          .make = [endpoint,
                   bucket] { return gateway_storage({.bucket = bucket, .endpoint = endpoint}); },
          .one_remover = false};
}

INSTANTIATE_TEST_SUITE_P(
    S3, StorageContract,
    testing::Values(subject("plain", kPlain, "plain"), subject("versioned", kPlain, "versioned"),
                    subject("tls", kTls, "plain"), subject("faulty", kFaulty, "plain"),
                    subject("overwriting", kOverwriting, "plain"),
                    subject("refusing_conditions", kRefusingConditions, "plain"),
                    subject("refusing_checksums", kRefusingChecksums, "plain")),
    subject_name);

}  // namespace
}  // namespace holdfast::storage
