#include "cli/arguments.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "cli/commands.h"

namespace holdfast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Arguments parse(const std::vector<std::string>& words) {
  return parse_arguments(words, language());
}

base::Error failure(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::kUsage);
    return error;
  }
  ADD_FAILURE() << "no error";
  return {base::ErrorKind::kFailed, ""};
}

TEST(Arguments, TakeGlobalOptionsBeforeAndAfterTheCommand) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"-c", "f", "-r", "x", "--json", "-q", "list"},
           {"list", "-c", "f", "-r", "x", "--json", "-q"},
           {"-cf", "list", "--repository=x", "-q", "--json"},
           {"--config=f", "--json", "list", "--repository", "x", "--quiet"}}) {
    const Arguments arguments = parse(words);
    EXPECT_EQ(arguments.command->name, "list");
    EXPECT_EQ(arguments.value("--config"), "f");
    EXPECT_EQ(arguments.value("--repository"), "x");
    EXPECT_TRUE(arguments.has("--json"));
    EXPECT_TRUE(arguments.has("--quiet"));
    EXPECT_FALSE(arguments.has("--verbose"));
  }
}

TEST(Arguments, KnowCommandsOfTwoWords) {
  const Arguments arguments =
      parse({"wal", "-q", "fetch", "00000002.history", "--component", "db", "x"});
  EXPECT_EQ(arguments.command->name, "wal fetch");
  EXPECT_THAT(arguments.positional, ElementsAre("00000002.history", "x"));
  EXPECT_EQ(arguments.value("--component"), "db");
}

TEST(Arguments, TakeValuesThatBeginWithADash) {
  EXPECT_EQ(parse({"restore", "db", "--to", "x", "--at", "-90m"}).value("--at"), "-90m");
  EXPECT_EQ(parse({"restore", "db", "--to", "x", "--at=-2d"}).value("--at"), "-2d");
}

TEST(Arguments, EndOptionsAtTwoDashes) {
  EXPECT_THAT(parse({"wal", "push", "--", "--odd"}).positional, ElementsAre("--odd"));
}

TEST(Arguments, LeaveAValueOutWhereThereIsAUsualOne) {
  const Arguments usual = parse({"restore", "--thaw", "db", "--to", "x"});
  EXPECT_EQ(usual.value("--thaw"), "standard");
  EXPECT_THAT(usual.positional, ElementsAre("db"));
  EXPECT_EQ(parse({"restore", "db", "--to", "x", "--thaw"}).value("--thaw"), "standard");
  EXPECT_EQ(parse({"restore", "--thaw", "bulk", "db", "--to", "x"}).value("--thaw"), "bulk");
  EXPECT_EQ(parse({"restore", "db", "--to", "x", "--thaw=bulk"}).value("--thaw"), "bulk");
  EXPECT_THAT(failure({"restore", "db", "--to", "x", "--thaw=slowly"}).what(),
              HasSubstr("bulk, standard, expedited"));
}

TEST(Arguments, RepeatOnlyWhatMayBeRepeated) {
  const Arguments arguments =
      parse({"restore", "db", "--tablespace", "/a=/b", "--tablespace", "/c=/d"});
  EXPECT_THAT(arguments.values("--tablespace"), ElementsAre("/a=/b", "/c=/d"));
  EXPECT_THAT(failure({"restore", "db", "--at", "now", "--at", "latest"}).what(),
              HasSubstr("given twice"));
}

TEST(Arguments, NameWhatIsNear) {
  EXPECT_THAT(failure({"bakcup"}).hint(), HasSubstr("\"backup\""));
  EXPECT_THAT(failure({"wal", "psh"}).hint(), HasSubstr("\"wal push\""));
  EXPECT_THAT(failure({"backup", "--kid", "full"}).hint(), HasSubstr("--kind"));
  EXPECT_THAT(failure({"--jsno", "list"}).hint(), HasSubstr("--json"));
}

TEST(Arguments, AreCountedAndChecked) {
  EXPECT_THAT(failure({}).what(), HasSubstr("no command"));
  EXPECT_THAT(failure({"wal"}).what(), HasSubstr("wants a word more"));
  EXPECT_THAT(failure({"show"}).what(), HasSubstr("lacks an argument"));
  EXPECT_THAT(failure({"list", "a", "b"}).what(), HasSubstr("\"b\""));
  EXPECT_THAT(failure({"backup", "--kind"}).what(), HasSubstr("wants a value"));
  EXPECT_THAT(failure({"backup", "--kind", "big"}).what(), HasSubstr("full, incremental"));
  EXPECT_THAT(failure({"verify", "--all=yes"}).what(), HasSubstr("takes no value"));
}

TEST(Arguments, TakeSeveralValuesOfAGreedyOption) {
  const Arguments arguments =
      parse({"restore", "config", "--only", "a", "b", "--only", "c", "--delta"});
  EXPECT_THAT(arguments.values("--only"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(arguments.positional, ElementsAre("config"));
  // While the command lacks its argument, a word is that.
  EXPECT_THAT(parse({"restore", "--only", "a", "config"}).positional, ElementsAre("config"));
}

TEST(Arguments, SayWhatIsNotThereYet) {
  EXPECT_THAT(failure({"drill"}).what(), HasSubstr("not in this version yet"));
  EXPECT_THAT(failure({"restore", "db", "--keep-ttl"}).what(),
              HasSubstr("not supported by this version"));
  EXPECT_THAT(failure({"verify", "--restore"}).what(), HasSubstr("not supported by this version"));
}

TEST(Arguments, NeedNothingElseForHelp) {
  EXPECT_TRUE(parse({"--help"}).has("--help"));
  EXPECT_EQ(parse({"show", "-h"}).command->name, "show");
}

}  // namespace
}  // namespace holdfast::cli
