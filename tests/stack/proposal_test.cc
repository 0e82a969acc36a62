#include "stack/proposal.h"

#include <gmock/gmock.h>

#include <fstream>
#include <regex>

#include "stack/component.h"
#include "storage/temporary_directory.h"

namespace holdfast::stack {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

FoundPostgres cluster(int port, const std::string& debian_name, bool runs = true) {
  FoundPostgres found;
  found.cluster.debian_name = debian_name;
  found.cluster.data_directory = "/data/" + std::to_string(port);
  found.cluster.config_file = "/etc/postgresql/" + debian_name + "/postgresql.conf";
  found.cluster.host = "/run";
  found.cluster.port = port;
  found.cluster.runs = runs;
  found.asked.connection = "host=/run port=" + std::to_string(port) + " user=postgres";
  if (!runs) return found;
  postgres::ClusterInfo info;
  info.version = "15.4";
  info.wal_level = "replica";
  info.archive_mode = "off";
  info.databases = {{1, "template1"}, {5, "shop"}};
  found.asked.info = info;
  return found;
}

Machine whole_machine() {
  Machine machine;
  machine.directory = "/app/shop";
  machine.postgres = {cluster(5432, "15/main")};
  machine.redis = {{.url = "redis://localhost:6379", .runs = true, .has_password = true}};
  machine.compose_file = "docker-compose.yml";
  machine.config = {"docker-compose.yml", "scripts/"};
  machine.logs = {"/var/log/shop"};
  machine.secrets = {"/app/shop/.env", "/secure/*.pem"};
  return machine;
}

class Proposal : public testing::Test {
 protected:
  // What is proposed, read as the program reads it.
  Config load(const Machine& machine) {
    text_ = propose_configuration(machine, paths_);
    return load_text(text_);
  }
  Config load_text(const std::string& text) {
    const auto file = directory_.path() / "holdfast.yaml";
    std::ofstream(file) << text;
    return load_config(file);
  }
  static const ComponentConfig* find(const Config& config, const std::string& name) {
    for (const auto& component : config.components) {
      if (component.name == name) return &component;
    }
    return nullptr;
  }

  ProposalPaths paths_{"/var/backups/holdfast", "/etc/holdfast/holdfast.key"};
  std::string text_;
  storage::TemporaryDirectory directory_;
};

TEST_F(Proposal, IsAConfigurationOfWhatWasFound) {
  const Config config = load(whole_machine());
  EXPECT_EQ(config.stack, "shop");
  ASSERT_THAT(config.repositories, SizeIs(1));
  EXPECT_EQ(config.repositories[0].url, "/var/backups/holdfast");
  EXPECT_EQ(config.repositories[0].key_file, "/etc/holdfast/holdfast.key");
  const ComponentConfig* database = find(config, "database");
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(database->type, "postgresql");
  EXPECT_EQ(database->connection, "host=/run port=5432 user=postgres");
  const ComponentConfig* files = find(config, "config");
  ASSERT_NE(files, nullptr);
  EXPECT_EQ(files->root, "/app/shop");
  EXPECT_THAT(files->include, ElementsAre("/docker-compose.yml", "/scripts/", "/holdfast.yaml"));
  EXPECT_THAT(files->exclude, testing::Contains(".env"));
  EXPECT_EQ(files->after_restore, "docker compose up -d");
  ASSERT_NE(find(config, "logs"), nullptr);
  EXPECT_EQ(find(config, "logs")->root, "/var/log/shop");
  const ComponentConfig* secrets = find(config, "secrets");
  ASSERT_NE(secrets, nullptr);
  EXPECT_EQ(secrets->type, "secrets");
  EXPECT_EQ(secrets->root, "/");
  EXPECT_THAT(secrets->include, ElementsAre("/app/shop/.env", "/secure/*.pem"));
  EXPECT_THAT(secrets->exclude, testing::Contains("/etc/holdfast/holdfast.key"));
}

TEST_F(Proposal, HasTheUsualJobs) {
  const Config config = load(whole_machine());
  const auto days = [](int n) { return std::optional<base::Duration>(std::chrono::hours(24) * n); };
  EXPECT_EQ(config.job("incremental").keep, days(7));
  EXPECT_EQ(config.job("incremental").at, "0 0,6,12,18 * * *");
  EXPECT_EQ(config.job("incremental").kind, "incremental");
  EXPECT_THAT(config.job("incremental").backup, ElementsAre("database"));
  EXPECT_EQ(config.job("daily").keep, days(30));
  EXPECT_EQ(config.job("daily").at, "0 2 * * *");
  EXPECT_THAT(config.job("daily").backup, SizeIs(config.components.size()));
  EXPECT_EQ(config.job("weekly").keep, days(90));
  EXPECT_EQ(config.job("monthly").keep, days(365));
  EXPECT_EQ(config.wal.keep, days(7));
}

// Redis is live as soon as this version has that kind of component, and a comment before.
TEST_F(Proposal, NamesNoComponentThatCannotBeBackedUp) {
  const Config config = load(whole_machine());
  for (const ComponentConfig& component : config.components) {
    EXPECT_NE(find_component(component), nullptr) << component.type;
  }
  EXPECT_THAT(text_, HasSubstr("redis://localhost:6379"));
}

TEST_F(Proposal, LoadsWhereNothingWasFound) {
  Machine machine;
  machine.directory = "/";
  const Config config = load(machine);
  EXPECT_THAT(config.components, IsEmpty());
  EXPECT_EQ(config.stack, "service");
  EXPECT_THAT(text_, HasSubstr("# database:"));
  EXPECT_THAT(text_, HasSubstr("# secrets:"));
}

// The commented examples are right too.
TEST_F(Proposal, ExamplesLoadWhenTheyAreUncommented) {
  Machine machine;
  machine.directory = "/app/shop";
  std::string text = propose_configuration(machine, paths_);
  text.replace(text.find("components: {}"), 14, "components:");
  text = std::regex_replace(text, std::regex("\n  # (?=( *)[a-z_]+:)"), "\n  ");
  text = std::regex_replace(text, std::regex("\n# limits:"), "\nlimits:");
  text = std::regex_replace(text, std::regex("BUCKET/PREFIX"), "bucket/prefix");
  const Config config = load_text(text);
  EXPECT_THAT(config.repositories, SizeIs(2)) << text;
  for (const char* name : {"database", "config", "secrets"}) {
    EXPECT_NE(find(config, name), nullptr) << name << "\n" << text;
  }
}

TEST_F(Proposal, PathsAreTakenAsTheyAre) {
  Machine machine = whole_machine();
  machine.directory = "/srv/a \"b\" ${d} \\e #f: 'g'\n\th";
  paths_.repository = machine.directory / "r";
  const Config config = load(machine);
  EXPECT_EQ(find(config, "config")->root, machine.directory.string()) << text_;
  EXPECT_EQ(config.repositories[0].url, paths_.repository.string());
}

TEST_F(Proposal, SeveralClustersHaveNamesOfTheirOwn) {
  Machine machine = whole_machine();
  machine.postgres = {cluster(5432, "15/main"), cluster(5433, ""), cluster(5433, ""),
                      cluster(5434, "13/old", false)};
  EXPECT_THAT(postgres_names(machine),
              ElementsAre("database-15-main", "database-5433", "database-5433-2", ""));
  const Config config = load(machine);
  EXPECT_NE(find(config, "database-5433-2"), nullptr);
  EXPECT_THAT(config.job("incremental").backup, SizeIs(3));
  EXPECT_THAT(text_, HasSubstr("13/old"));
}

TEST_F(Proposal, OneAtWorkBesideStoppedOnesIsTheDatabase) {
  Machine machine = whole_machine();
  machine.postgres.push_back(cluster(5434, "13/old", false));
  EXPECT_THAT(postgres_names(machine), ElementsAre("database", ""));
}

TEST_F(Proposal, AStandbyIsNotBackedUp) {
  Machine machine = whole_machine();
  machine.postgres.push_back(cluster(5433, ""));
  machine.postgres.back().asked.info->in_recovery = true;
  EXPECT_THAT(postgres_names(machine), ElementsAre("database", ""));
  load(machine);
  EXPECT_THAT(text_, HasSubstr("The server in /data/5433 is a standby"));
}

// ---- what the servers must be told

std::vector<PostgresChange> changes_of(FoundPostgres found) {
  Machine machine;
  machine.postgres = {std::move(found)};
  return postgres_changes(machine, [](const std::string& component) {
    return "'/opt/it'\\''s/holdfast' wal push --component " + component + " \"%p\"";
  });
}

constexpr std::string_view kCommandLine =
    R"(archive_command = '''/opt/it''\\''''s/holdfast'' wal push --component database "%p"')";

TEST(PostgresChanges, AreTheLinesThatAreMissing) {
  auto changes = changes_of(cluster(5432, "15/main"));
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].cluster, "15/main");
  EXPECT_EQ(changes[0].file, "/etc/postgresql/15/main/postgresql.conf");
  EXPECT_THAT(changes[0].lines, ElementsAre("archive_mode = on", kCommandLine));
  EXPECT_TRUE(changes[0].restart);

  FoundPostgres minimal = cluster(5432, "");
  minimal.asked.info->wal_level = "minimal";
  changes = changes_of(minimal);
  EXPECT_THAT(changes[0].lines,
              ElementsAre("wal_level = replica", "archive_mode = on", kCommandLine));
  EXPECT_EQ(changes[0].cluster, "/data/5432");
}

TEST(PostgresChanges, AReloadIsEnoughForTheCommand) {
  FoundPostgres other = cluster(5432, "15/main");
  other.asked.info->archive_mode = "on";
  other.asked.info->archive_command = "cp %p /backup/wal/%f";
  other.asked.info->archive_library = "basic_archive";
  const auto changes = changes_of(other);
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_THAT(changes[0].lines, ElementsAre("archive_library = ''", kCommandLine));
  EXPECT_FALSE(changes[0].restart);
}

TEST(PostgresChanges, AreNoneWhereAllIsRight) {
  FoundPostgres good = cluster(5432, "15/main");
  good.asked.info->archive_mode = "always";
  good.asked.info->archive_command = "holdfast wal push %p";
  EXPECT_THAT(changes_of(good), IsEmpty());
  EXPECT_THAT(changes_of(cluster(5432, "15/main", false)), IsEmpty());
}

TEST(PostgresChanges, AreAllWhereTheServerCouldNotBeAsked) {
  FoundPostgres silent = cluster(5432, "15/main");
  silent.asked.info.reset();
  silent.asked.problem = "connection refused";
  const auto changes = changes_of(silent);
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].unknown, "connection refused");
  EXPECT_THAT(changes[0].lines, SizeIs(3));
}

}  // namespace
}  // namespace holdfast::stack
