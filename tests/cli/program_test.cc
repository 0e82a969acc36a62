// The program as a user sees it: exit statuses, what goes to which stream, JSON.
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/completion.h"
#include "run_program.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST(Program, TellsItsVersion) {
  EXPECT_THAT(run_words({"version"}).out, StartsWith("holdfast "));
  EXPECT_EQ(run_words({"version"}).out, run_words({"--version"}).out);
  EXPECT_THAT(run_words({"version", "--json"}).json()["version"].get<std::string>(),
              Not(IsEmpty()));
}

TEST(Program, HelpsWithEveryCommand) {
  const std::string all = run_words({"help"}).out;
  for (const Command& command : language().commands) {
    EXPECT_THAT(all, HasSubstr(std::string(command.name)));
    std::vector<std::string> words{"help"};
    const std::string name(command.name);
    const auto space = name.find(' ');
    words.push_back(name.substr(0, space));
    if (space != std::string::npos) words.push_back(name.substr(space + 1));
    const Outcome help = run_words(words);
    EXPECT_EQ(help.status, 0);
    for (const Option& option : command.options) {
      EXPECT_THAT(help.out, HasSubstr(std::string(option.name)));
      EXPECT_FALSE(option.help.empty());
    }
    words.erase(words.begin());
    words.emplace_back("--help");
    EXPECT_EQ(run_words(words).out, help.out);
  }
  EXPECT_THAT(all, Not(HasSubstr("drill")));  // nothing that is not there
  EXPECT_EQ(run_words({"help", "bakcup"}).status, 2);
  EXPECT_THAT(run_words({"help", "configuration"}).out, HasSubstr("key_file:"));
  EXPECT_THAT(run_words({"help", "wal", "--json"}).json()["help"].get<std::string>(),
              HasSubstr("wal push"));
}

TEST(Program, CompletesEveryCommandAndOptionInEveryShell) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome outcome = run_words({"completion", shell});
    EXPECT_EQ(outcome.status, 0);
    for (const Command& command : language().commands) {
      const auto space = command.name.find(' ');
      EXPECT_THAT(outcome.out, HasSubstr(std::string(command.name.substr(0, space))));
      if (space != std::string_view::npos) {
        EXPECT_THAT(outcome.out, HasSubstr(std::string(command.name.substr(space + 1))));
      }
      for (const Option& option : command.options) {
        EXPECT_THAT(outcome.out, HasSubstr(std::string(option.name.substr(2))));
      }
    }
  }
  EXPECT_EQ(run_words({"completion", "tcsh"}).status, 2);
}

// bash itself is asked what it would complete.
TEST(Program, CompletesInBash) {
  const storage::TemporaryDirectory directory;
  const std::string script = (directory.path() / "completion").string();
  std::ofstream(script) << run_words({"completion", "bash"}).out
                        << "COMP_WORDS=(holdfast \"$@\"); COMP_CWORD=$#\n"
                           "_holdfast 2>/dev/null; echo \"${COMPREPLY[*]}\"\n";
  const auto complete = [&](const std::string& words) {
    std::FILE* pipe = popen(("bash " + script + " " + words).c_str(), "r");
    std::string result;
    char buffer[4096];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) result += buffer;
    EXPECT_EQ(pclose(pipe), 0);
    return result;
  };
  EXPECT_EQ(complete("ba"), "backup\n");
  EXPECT_EQ(complete("-r main wal f"), "fetch\n");
  EXPECT_EQ(complete("backup --ki"), "--kind\n");
  EXPECT_EQ(complete("backup --kind i"), "incremental\n");
  EXPECT_EQ(complete("restore db --tables"), "--tablespace\n");
  EXPECT_EQ(complete("key remove --js"), "--json\n");
  EXPECT_EQ(complete("completion f"), "fish\n");
}

struct Wrong {
  std::vector<std::string> words;
  int status;
  std::string code;
};

TEST(Program, PrintsErrorsOnOneStreamAndJsonOnTheOther) {
  const Stack stack;
  stack.run({"init"});
  for (const Wrong& wrong : std::vector<Wrong>{
           {{"bogus"}, 2, "usage"},
           {{"drill"}, 2, "usage"},
           {{"list", "--bogus"}, 2, "usage"},
           {{"backup", "nosuch"}, 2, "usage"},
           {{"backup", "--job", "nosuch"}, 2, "usage"},
           {{"-r", "nosuch", "list"}, 2, "usage"},
           {{"restore", "database"}, 2, "usage"},
           {{"restore", "all", "--to", "/x"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--only", "y"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--at", "now", "--lsn", "0/1"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--at", "yesterday-ish"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--lsn", "nonsense"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--xid", "-1"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--timeline", "old"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--action", "explode"}, 2, "usage"},
           {{"restore", "database", "--to", "/x", "--tablespace", "/a"}, 2, "usage"},
           {{"restore", "database", "--to", "/x"}, 4, "not_found"},
           {{"show", "database-20010101T000000Z"}, 4, "not_found"},
           {{"wal", "fetch", "nonsense", "/x"}, 2, "usage"},
           {{"wal", "fetch", "0000000100000000000000FF", "/x"}, 4, "not_found"},
           {{"wal", "push", "/nowhere/000000010000000000000001"}, 1, "failed"},
           {{"wal", "list", "--component", "nosuch"}, 2, "usage"},
           {{"key", "remove", "zz"}, 4, "not_found"},
           {{"key", "add"}, 2, "usage"},
           {{"backup"}, 1, "unavailable"},
       }) {
    const Outcome text = stack.run(wrong.words);
    const std::string what = json(wrong.words).dump();
    EXPECT_EQ(text.status, wrong.status) << what << text.err;
    EXPECT_THAT(text.out, IsEmpty()) << what;
    EXPECT_THAT(text.err, StartsWith("holdfast: ")) << what;

    std::vector<std::string> words = wrong.words;
    words.emplace_back("--json");
    const Outcome outcome = stack.run(words);
    EXPECT_EQ(outcome.status, wrong.status) << what;
    const json error = outcome.json()["error"];
    EXPECT_EQ(error["code"], wrong.code) << what << error;
    EXPECT_THAT(error["message"].get<std::string>(), Not(IsEmpty())) << what;
    EXPECT_TRUE(error["hint"].is_string()) << what;
  }
}

TEST(Program, ReportsAWrongConfigurationInJson) {
  const Stack stack;
  stack.write("compnents: {}\n");
  const Outcome outcome = stack.run({"list", "--json"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.json()["error"]["code"], "config");
  EXPECT_THAT(outcome.json()["error"]["message"].get<std::string>(),
              HasSubstr("holdfast.yaml:7:1"));
  EXPECT_THAT(outcome.json()["error"]["hint"].get<std::string>(), HasSubstr("components"));
}

TEST(Program, IsQuietWhenAsked) {
  const Stack stack;
  EXPECT_THAT(stack.run({"-q", "init"}).err, IsEmpty());
  EXPECT_THAT(stack.run({"-q", "show", "latest"}).err, StartsWith("holdfast: "));
}

TEST(Init, MakesRepositoryAndKeyOnce) {
  const Stack stack;
  const Outcome first = stack.run({"init", "--json"});
  EXPECT_EQ(first.status, 0);
  const json made = first.json()["repositories"][0];
  EXPECT_EQ(made["name"], "main");
  EXPECT_EQ(made["created"], true);
  EXPECT_EQ(made["key_file_created"], true);
  EXPECT_EQ(made["key_file"], stack.file("holdfast.key"));
  const json again = stack.run({"init", "--json"}).json()["repositories"][0];
  EXPECT_EQ(again["created"], false);
  EXPECT_EQ(again["key_file_created"], false);
}

TEST(Init, SaysThatTheKeyMustBeKeptElsewhereToo) {
  const Stack stack;
  EXPECT_THAT(stack.run({"init"}).out,
              AllOf(HasSubstr("in another place"), HasSubstr(stack.file("holdfast.key"))));
}

TEST(Init, GoesOnPastARepositoryItCannotMake) {
  const Stack stack;
  std::ofstream(stack.file("holdfast.yaml"))
      << "repositories:\n"
         "  far: {url: \"s3://bucket/x\", key_file: k1, credentials: {file: none}}\n"
         "  near: {url: repo, key_file: k2}\n";
  const Outcome outcome = stack.run({"init", "--json"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.json()["repositories"][0]["error"]["message"].get<std::string>(),
              HasSubstr("there is no profile default in "));
  EXPECT_EQ(outcome.json()["repositories"][1]["created"], true);
  EXPECT_EQ(stack.run({"init", "-r", "near"}).status, 0);
  EXPECT_EQ(stack.run({"init", "-r", "far"}).status, 2);
}

// A configuration with two repositories of one key file, and a third of its own.
void write_three(const Stack& stack) {
  std::ofstream(stack.file("holdfast.yaml")) << "repositories:\n"
                                                "  main: {url: repo, key_file: k1}\n"
                                                "  offsite: {url: offsite, key_file: k1}\n"
                                                "  apart: {url: apart, key_file: k2}\n";
}

TEST(Init, GivesRepositoriesOfOneKeyFileTheSameKeys) {
  const Stack stack;
  write_three(stack);
  const json made = stack.run({"init", "--json"}).json()["repositories"];
  EXPECT_EQ(made[0]["shares_keys_with"], nullptr);
  EXPECT_EQ(made[1]["shares_keys_with"], "main");
  EXPECT_EQ(made[2]["shares_keys_with"], nullptr);
}

TEST(Copy, NeedsABackupAndAnotherRepository) {
  const Stack stack;
  write_three(stack);
  stack.run({"init"});
  EXPECT_EQ(stack.run({"copy", "--to", "offsite"}).status, 2);
  EXPECT_EQ(stack.run({"copy", "latest"}).status, 2);
  EXPECT_EQ(stack.run({"copy", "latest", "--to", "nowhere"}).status, 2);
  const Outcome itself = stack.run({"copy", "latest", "--to", "main"});
  EXPECT_EQ(itself.status, 2);
  EXPECT_THAT(itself.err, HasSubstr("copied from"));
  const Outcome none = stack.run({"copy", "latest", "--to", "offsite", "--json"});
  EXPECT_EQ(none.status, 4);
  EXPECT_EQ(none.json()["error"]["code"], "not_found");
}

TEST(List, ShowsThatThereIsNothingYet) {
  const Stack stack;
  stack.run({"init"});
  const Outcome outcome = stack.run({"list", "--json"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.json()["backups"], json::array());
  EXPECT_EQ(outcome.json()["windows"]["database"],
            (json{{"from", nullptr}, {"to", nullptr}, {"continuous", false}}));
  EXPECT_THAT(stack.run({"list"}).out, HasSubstr("database: no backup yet"));
}

TEST(Backup, CollectsWhatFailedOfSeveral) {
  const Stack stack;
  stack.write("  cache: {type: redis, url: \"redis://localhost:1\"}\n");
  stack.run({"init"});
  const Outcome outcome = stack.run({"backup", "--json"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.json()["backups"], json::array());
  ASSERT_EQ(outcome.json()["failed"].size(), 2U);
  EXPECT_EQ(outcome.json()["failed"][0]["component"], "database");
  EXPECT_EQ(outcome.json()["failed"][1]["component"], "cache");
  EXPECT_THAT(outcome.json()["failed"][1]["error"]["message"].get<std::string>(),
              HasSubstr("not supported by this version yet"));
}

TEST(Backup, RunsAsAJobWithItsComponentsAndRepository) {
  const Stack stack;
  std::ofstream(stack.file("holdfast.yaml"))
      << "repositories:\n"
         "  main: {url: repo, key_file: k}\n"
         "  other: {url: other, key_file: k}\n"
         "components: {cache: {type: redis, url: x}, logs: {type: files, root: "
         "/no/such/directory}}\n"
         "jobs:\n"
         "  nightly: {at: \"0 2 * * *\", backup: [logs], repository: other}\n"
         "  check: {at: \"0 2 * * *\", verify: latest}\n";
  stack.run({"init", "-r", "main"});
  // The job's repository is the one that is missing.
  EXPECT_EQ(stack.run({"backup", "--job", "nightly"}).status, 4);
  EXPECT_EQ(stack.run({"backup", "--job", "check"}).status, 2);
  stack.run({"init"});
  const Outcome outcome = stack.run({"backup", "--job", "nightly", "--json"});
  EXPECT_EQ(outcome.status, 1);  // there is no such directory
  ASSERT_EQ(outcome.json()["failed"].size(), 1U);
  EXPECT_EQ(outcome.json()["failed"][0]["component"], "logs");
  EXPECT_EQ(outcome.json()["failed"][0]["repository"], "other");
}

// Two repositories, of which the first is not mounted.
void write_near_and_far(const Stack& stack) {
  std::ofstream(stack.file("holdfast.yaml"))
      << "repositories:\n"
         "  near: {url: near, key_file: k}\n"
         "  far: {url: far, key_file: k}\n"
         "components: {cache: {type: redis, url: x}}\n"
         "jobs: {nightly: {at: \"0 2 * * *\", backup: all, repository: [near, far]}}\n";
  stack.run({"init"});
  std::filesystem::rename(stack.file("near"), stack.file("away"));
}

TEST(SeveralRepositories, ABackupGoesToEachOfItsJobs) {
  const Stack stack;
  write_near_and_far(stack);
  const Outcome outcome = stack.run({"backup", "--job", "nightly", "--json"});
  EXPECT_EQ(outcome.status, 1);
  const json failed = outcome.json()["failed"];
  ASSERT_EQ(failed.size(), 2U);
  EXPECT_EQ(failed[0]["repository"], "near");
  EXPECT_EQ(failed[0]["component"], "cache");
  EXPECT_EQ(failed[0]["error"]["code"], "not_found");
  EXPECT_EQ(failed[1]["repository"], "far");
  EXPECT_THAT(failed[1]["error"]["message"].get<std::string>(), HasSubstr("not supported"));
  // -r goes before the job's.
  EXPECT_EQ(stack.run({"backup", "--job", "nightly", "-r", "near"}).status, 4);
}

TEST(SeveralRepositories, AreCheckedEach) {
  const Stack stack;
  write_near_and_far(stack);
  const Outcome outcome = stack.run({"check", "--json"});
  EXPECT_EQ(outcome.status, 1);
  std::map<std::string, std::string> verdicts;
  const json findings = outcome.json()["findings"];
  for (const json& finding : findings) {
    if (finding["what"] == "repository") verdicts[finding["repository"]] = finding["verdict"];
    if (finding["what"] == "type") {
      EXPECT_EQ(finding["repository"], nullptr);
    }
  }
  EXPECT_EQ(verdicts["near"], "bad");
  EXPECT_EQ(verdicts["far"], "good");
  EXPECT_THAT(stack.run({"check"}).out,
              AllOf(HasSubstr("BAD   near: repository: "), HasSubstr("good  far: repository: ")));
  EXPECT_THAT(stack.run({"check", "-r", "far"}).out, Not(HasSubstr("near")));
}

TEST(SeveralRepositories, ArePrunedEach) {
  const Stack stack;
  write_near_and_far(stack);
  const Outcome outcome = stack.run({"prune", "--json"});
  EXPECT_EQ(outcome.status, 1);
  const json document = outcome.json();
  ASSERT_EQ(document["failed"].size(), 1U);
  EXPECT_EQ(document["failed"][0]["repository"], "near");
  ASSERT_EQ(document["repositories"].size(), 1U);
  EXPECT_EQ(document["repositories"][0]["repository"], "far");
  EXPECT_EQ(document["repositories"][0]["removed"]["packs"], 0);
  const Outcome one = stack.run({"prune", "-r", "far", "--json"});
  EXPECT_EQ(one.status, 0);
  EXPECT_EQ(one.json()["removed"]["packs"], 0);
  EXPECT_EQ(stack.run({"prune", "-r", "near"}).status, 4);
}

TEST(Verify, NamesAFormatThatIsDamaged) {
  const Stack stack;
  stack.run({"init"});
  EXPECT_EQ(stack.run({"verify"}).status, 0);
  const std::string format = stack.file("repo/format");
  std::filesystem::permissions(format, std::filesystem::perms(0600));
  std::filesystem::resize_file(format, std::filesystem::file_size(format) - 1);
  const Outcome outcome = stack.run({"verify", "--json"});
  EXPECT_EQ(outcome.status, 5);
  EXPECT_EQ(outcome.json()["damaged"][0]["object"], "format");
  EXPECT_EQ(stack.run({"list"}).status, 5);
}

TEST(Check, NeverStopsAtTheFirstProblem) {
  const Stack stack;
  stack.write("  cache: {type: redis, url: x}\nnotify: [{webhook: {url: x}}]\n");
  const Outcome before = stack.run({"check", "--json"});
  EXPECT_EQ(before.status, 1);
  EXPECT_EQ(before.json()["ok"], false);
  std::map<std::string, std::string> verdicts;
  const json findings = before.json()["findings"];
  for (const json& finding : findings) {
    verdicts[finding["what"]] = finding["verdict"];
    EXPECT_THAT(finding["detail"].get<std::string>(), Not(IsEmpty()));
  }
  EXPECT_EQ(verdicts["repository"], "bad");
  EXPECT_EQ(verdicts["key"], "bad");
  EXPECT_EQ(verdicts["type"], "attention");

  stack.run({"init"});
  const Outcome after = stack.run({"check"});
  EXPECT_EQ(after.status, 1);  // there is no server
  EXPECT_THAT(after.out, AllOf(HasSubstr("good  repository: "), HasSubstr("good  lock: "),
                               HasSubstr("good  key: "), HasSubstr("BAD   database: "),
                               HasSubstr("`notify` has no effect")));
  EXPECT_TRUE(std::filesystem::is_empty(stack.file("repo/locks")) ||
              !std::filesystem::exists(stack.file("repo/locks")));
}

TEST(Check, SaysOfEachLineWhatToDo) {
  const Stack stack;
  const std::string out = stack.run({"check"}).out;
  EXPECT_THAT(out, HasSubstr(" -> "));
  EXPECT_THAT(out, HasSubstr("holdfast init"));
}

// restore_command: what is not "not there" must not look like it, or PostgreSQL ends its recovery
// early.
TEST(WalFetch, StopsARecoveryThatCannotGoOn) {
  const Stack stack;  // without a repository, as if it were not mounted
  const storage::TemporaryDirectory data_directory;
  const auto previous = std::filesystem::current_path();
  std::filesystem::current_path(data_directory.path());
  const std::vector<std::string> fetch{"wal", "fetch", "000000010000000000000001",
                                       "pg_wal/RECOVERYXLOG"};
  EXPECT_EQ(stack.run(fetch).status, 255);
  EXPECT_EQ(
      run_words({"-c", "/nowhere", "wal", "fetch", "00000002.history", "pg_wal/RECOVERYHISTORY"})
          .status,
      255);
  EXPECT_EQ(run_words({"wal", "fetch", "--bogus", "x", "pg_wal/RECOVERYXLOG"}).status, 255);
  EXPECT_EQ(stack.run({"wal", "fetch", "000000010000000000000001", "elsewhere"}).status, 4);

  stack.run({"init"});
  EXPECT_EQ(stack.run({"wal", "fetch", "--system", "7", fetch[2], fetch[3]}).status, 4);

  std::filesystem::remove_all(stack.file("repo"));
  std::ofstream("standby.signal") << "";  // a standby asks again
  EXPECT_EQ(stack.run(fetch).status, 4);
  std::filesystem::current_path(previous);
}

TEST(Interruption, EndsARunWithItsOwnCode) {
  const Stack stack;
  stack.run({"init"});
  std::stop_source stop;
  stop.request_stop();
  const Outcome outcome =
      run_words({"-c", stack.file("holdfast.yaml"), "backup", "--json"}, stop.get_token());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.json()["error"]["code"], "interrupted");
}

}  // namespace
}  // namespace holdfast::cli
