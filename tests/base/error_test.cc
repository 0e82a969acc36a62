#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace holdfast::base {
namespace {

TEST(ErrorTest, EveryKindHasItsRow) {
  std::set<std::string_view> codes;
  for (int i = 0; i <= static_cast<int>(ErrorKind::kInterrupted); ++i) {
    const auto kind = static_cast<ErrorKind>(i);
    EXPECT_EQ(info(kind).kind, kind);
    EXPECT_TRUE(codes.insert(info(kind).code).second) << info(kind).code;
  }
}

TEST(ErrorTest, ExitStatusesAreThoseOfTheContract) {
  EXPECT_EQ(info(ErrorKind::kFailed).exit_status, 1);
  EXPECT_EQ(info(ErrorKind::kUsage).exit_status, 2);
  EXPECT_EQ(info(ErrorKind::kConfig).exit_status, 2);
  EXPECT_EQ(info(ErrorKind::kNotFound).exit_status, 4);
  EXPECT_EQ(info(ErrorKind::kDamaged).exit_status, 5);
  EXPECT_EQ(info(ErrorKind::kLocked).exit_status, 6);
}

TEST(ErrorTest, SystemErrorsGetTheirKindAndTheSystemsWords) {
  const Error full = system_error(ENOSPC, "cannot write /backup/x");
  EXPECT_EQ(full.kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(full.system_errno(), ENOSPC);
  EXPECT_STREQ(full.what(), "cannot write /backup/x: No space left on device");
  EXPECT_EQ(system_error(EDQUOT, "x").kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(system_error(EACCES, "x").kind(), ErrorKind::kPermission);
  EXPECT_EQ(system_error(EPERM, "x").kind(), ErrorKind::kPermission);
  EXPECT_EQ(system_error(EROFS, "x").kind(), ErrorKind::kPermission);
  EXPECT_EQ(system_error(EINTR, "x").kind(), ErrorKind::kInterrupted);
  EXPECT_EQ(system_error(ETIMEDOUT, "x").kind(), ErrorKind::kTimeout);
  EXPECT_EQ(system_error(EIO, "x").kind(), ErrorKind::kFailed);
}

TEST(ErrorTest, ContextsStandInFrontFromTheOutside) {
  try {
    with_context("while backing up database", [] {
      with_context([] { return "while reading base/5"; },
                   [] { throw Error(ErrorKind::kDamaged, "torn page", "look at the disk"); });
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "while backing up database: while reading base/5: torn page");
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
    EXPECT_EQ(error.hint(), "look at the disk");
  }
}

TEST(ErrorTest, ContextIsNotMadeWhereNothingFails) {
  int made = 0;
  const auto context = [&] {
    ++made;
    return "never";
  };
  EXPECT_EQ(with_context(context, [] { return 42; }), 42);
  EXPECT_EQ(made, 0);
}

}  // namespace
}  // namespace holdfast::base
