#include <gmock/gmock.h>

#include "cli/progress_display.h"
#include "cli/recovery_call.h"
#include "cli/restore_command.h"
#include "cli/text_table.h"
#include "run_program.h"

namespace holdfast::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kMiB = 1024 * 1024;

TEST(TextTable, AlignsByCharacters) {
  TextTable table({"NAME", ">SIZE", "NOTE"});
  table.add({"a", "1", "x"});
  table.add({"größer", "1024", ""});
  EXPECT_EQ(table.text(),
            "NAME    SIZE  NOTE\n"
            "a          1  x\n"
            "größer  1024");
}

TEST(ProgressLine, TellsDoneTotalRateAndTimeLeft) {
  EXPECT_EQ(format_progress({"waiting for WAL", 0, 0, 0}), "waiting for WAL");
  EXPECT_EQ(format_progress({"reading", 256 * kMiB, 1024 * kMiB, 64.0 * kMiB}),
            "reading: 256.0 MiB of 1.0 GiB (25 %), 64.0 MiB/s, 12.0 s left");
  EXPECT_EQ(format_progress({"reading", kMiB, 0, 0}), "reading: 1.0 MiB");
  // More than was announced: a table grew meanwhile.
  EXPECT_EQ(format_progress({"reading", 3 * kMiB, 2 * kMiB, 1.0 * kMiB}),
            "reading: 3.0 MiB of 2.0 MiB (100 %), 1.0 MiB/s");
}

TEST(ProgressLine, FitsTheTerminal) {
  const ProgressState state{"reading", 256 * kMiB, 1024 * kMiB, 64.0 * kMiB};
  EXPECT_THAT(format_bar(state, 200), HasSubstr("[######..................] reading: 256.0 MiB"));
  EXPECT_EQ(format_bar(state, 20).size(), 19U);
  EXPECT_THAT(format_bar({"waiting", 0, 0, 0}, 80), Not(HasSubstr("[")));
}

TEST(ProgressDisplay, PrintsNotesAtOnceAndNoBarOutsideOfATerminal) {
  Capture err;
  {
    ProgressDisplay display(err.stream(), false, false);
    display.phase("reading", 100);
    display.advance(50);
    display.note("something");
    display.warning("careful");
  }
  EXPECT_EQ(err.text(), "something\nwarning: careful\n");
}

TEST(RestoreCommand, IsQuotedForShellAndServer) {
  EXPECT_EQ(quote_for_postgres("/usr/bin/holdfast"), "/usr/bin/holdfast");
  EXPECT_EQ(quote_for_postgres("/a b/c"), "'/a b/c'");
  EXPECT_EQ(quote_for_postgres("/it's"), "'/it'\\''s'");
  EXPECT_EQ(quote_for_postgres("/100%p"), "'/100%%p'");
  EXPECT_EQ(quote_for_postgres(""), "''");
}

TEST(RecoveryCall, IsToldFromTheWords) {
  const auto is_one = [](std::vector<std::string> words) { return is_called_by_recovery(words); };
  EXPECT_TRUE(is_one({"-c", "x", "wal", "fetch", "00000002.history", "pg_wal/RECOVERYHISTORY"}));
  EXPECT_TRUE(is_one({"wal", "fetch", "--component", "d", "0001", "/data/pg_wal/RECOVERYXLOG"}));
  EXPECT_FALSE(is_one({"wal", "fetch", "0001", "/tmp/0001"}));
  EXPECT_FALSE(is_one({"wal", "push", "pg_wal/RECOVERYXLOG"}));
  EXPECT_FALSE(is_one({"fetch"}));
  EXPECT_FALSE(is_one({}));
  EXPECT_EQ(status_for_recovery(base::ErrorKind::kInterrupted), 143);
  EXPECT_EQ(status_for_recovery(base::ErrorKind::kUnavailable), 255);
}

}  // namespace
}  // namespace holdfast::cli
