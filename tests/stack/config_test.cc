#include "stack/config.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include "config_file.h"

namespace holdfast::stack {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// The example of the documentation, whole: every key of it is known.
constexpr std::string_view kExample = R"yaml(
stack: tradingbot

repositories:
  main:                                  # the first one is the default
    url: /backup/holdfast                # a directory, or s3://bucket/prefix
    key_file: /secure/holdfast.key       # or: passphrase: {env: HOLDFAST_PASSPHRASE}
    compression: 3                       # zstd level, the default; 0 for none
  glacier:
    url: s3://tradingbot-backups/archive
    endpoint: https://s3.eu-central-1.amazonaws.com   # any S3-compatible server
    region: eu-central-1
    credentials: {file: ~/.aws/credentials}           # default: the usual AWS chain
    storage_class: DEEP_ARCHIVE          # for packs; the small metadata stays STANDARD
    server_side_encryption: {kms_key: alias/tradingbot-secrets}
    object_lock: 30d                     # WORM retention on every object, where wanted
    key_file: /secure/holdfast.key

components:
  database:
    type: postgresql
    connection: "host=/var/run/postgresql user=postgres dbname=postgres"   # libpq
    dumps: [tradingbot]                  # databases to dump logically too, optional
    checks: checks/database.sql          # validation queries, optional
  cache:
    type: redis
    url: redis://localhost:6379
  config:
    type: files
    root: /app/tradingbot
    include: [.env, docker-compose.yml, alembic.ini, src/core/config.py, .taskmaster/, k8s/, scripts/]
    exclude: ["*.pyc"]
    after_restore: docker compose up -d  # shown, and run only when asked
  logs:
    type: files
    root: /var/log/tradingbot
  secrets:
    type: secrets                        # files that are restored 0600 and never shown
    root: /
    include: [/app/tradingbot/.env, /secure/*.pem, /secure/*.key]

jobs:
  incremental: {at: "0 0,6,12,18 * * *", backup: [database, cache], kind: incremental, keep: 7d}
  daily:       {at: "0 2 * * *",         backup: [database, cache, config, logs, secrets], kind: full, keep: 30d}
  weekly:      {at: "0 3 * * 0",         backup: all, kind: full, keep: 90d, repository: glacier}
  monthly:     {at: "0 3 1 * *",         backup: all, kind: full, keep: 1y,  repository: glacier}
  verify:      {at: "0 4 * * 0",         verify: latest}
  drill:       {at: "0 5 1 */3 *",       drill: full}
wal: {keep: 7d}

limits: {workers: auto, rate: 200MiB, low_priority: true}   # all optional; workers: auto is one a core

notify:
  - mail: {to: ops@company.com, from: holdfast@company.com, smtp: smtp://localhost:25, on: [failure, recovery]}
  - webhook: {url: "https://...", on: [failure, recovery, success]}
metrics: {listen: 127.0.0.1:9187, textfile: /var/lib/node_exporter/holdfast.prom}

plans:
  full:
    rto: 4h
    rpo: 6h
    steps:
      - {restore: database}
      - {restore: cache}
      - {restore: config}
      - {restore: secrets}
      - {run: "docker compose up -d"}
      - {http: "http://localhost:8000/health", expect: 200, within: 2m}
      - {http: "http://localhost:8000/ready",  expect: 200, within: 2m}
      - {run: "python3 scripts/verify_system.py"}
      - {confirm: "DNS points to the new instance"}
      - {watch: "http://localhost:8000/health", for: 1h}
)yaml";

// A configuration that is right but for what is put in front of, into, and behind its parts.
std::string with(std::string_view repository = "", std::string_view component = "",
                 std::string_view rest = "") {
  return "repositories:\n"
         "  main:\n"
         "    url: /backup\n" +
         (repository.find("key_file") == std::string_view::npos &&
                  repository.find("passphrase") == std::string_view::npos
              ? std::string("    key_file: /key\n")
              : std::string()) +
         std::string(repository) + "components:\n" + "  database:\n" + "    type: postgresql\n" +
         "    connection: host=/run\n" + std::string(component) + std::string(rest);
}

TEST(Config, TakesTheWholeExample) {
  const ConfigFile file(kExample);
  ASSERT_EQ(file.problem(), "");
  const Config config = file.load();
  EXPECT_EQ(config.stack, "tradingbot");
  ASSERT_EQ(config.repositories.size(), 2U);
  EXPECT_EQ(config.repository("").name, "main");
  EXPECT_EQ(config.repository("").url, "/backup/holdfast");
  EXPECT_EQ(config.repository("").key_file, "/secure/holdfast.key");
  EXPECT_FALSE(config.repository("glacier").is_directory());
  const auto& bucket = config.repository("glacier").s3.options;
  EXPECT_EQ(bucket.bucket, "tradingbot-backups");
  EXPECT_EQ(bucket.prefix, "archive");
  EXPECT_EQ(bucket.endpoint, "https://s3.eu-central-1.amazonaws.com");
  EXPECT_EQ(bucket.region, "eu-central-1");
  EXPECT_EQ(bucket.storage_class, "DEEP_ARCHIVE");
  EXPECT_EQ(bucket.kms_key, "alias/tradingbot-secrets");
  EXPECT_FALSE(bucket.encrypt);
  EXPECT_EQ(bucket.object_lock, base::parse_duration("30d"));
  EXPECT_EQ(bucket.path_style, std::nullopt);
  EXPECT_EQ(bucket.rate_bytes, 200U * 1024 * 1024);
  EXPECT_THAT(config.repository("glacier").s3.credentials.file, EndsWith("/.aws/credentials"));
  ASSERT_EQ(config.components.size(), 5U);
  EXPECT_EQ(config.component("database").connection,
            "host=/var/run/postgresql user=postgres dbname=postgres");
  EXPECT_EQ(config.component("secrets").type, "secrets");
  EXPECT_EQ(config.job("weekly").backup.size(), 5U);
  EXPECT_THAT(config.job("weekly").repositories, ElementsAre("glacier"));
  EXPECT_THAT(config.job("daily").repositories, ElementsAre());
  EXPECT_EQ(config.job("monthly").keep, base::parse_duration("365d"));
  EXPECT_EQ(config.job("incremental").kind, "incremental");
  EXPECT_THAT(config.job("verify").backup, ElementsAre());
  EXPECT_EQ(config.limits.workers, 0);
  EXPECT_EQ(config.limits.rate_bytes, 200U * 1024 * 1024);
  EXPECT_TRUE(config.limits.low_priority);
}

// A repository in a bucket, with more keys from line 5 on.
std::string in_bucket(std::string_view keys, std::string_view url = "s3://bucket/prefix") {
  return "repositories:\n  main:\n    url: " + std::string(url) + "\n    key_file: /key\n" +
         std::string(keys);
}

TEST(Config, ReadsEveryKeyOfABucket) {
  const ConfigFile file(
      in_bucket("    endpoint: http://127.0.0.1:9000\n"
                "    path_style: false\n"
                "    credentials: {file: keys, profile: backup}\n"
                "    ca_file: tls/ca.pem\n"
                "    proxy: http://user:secret@proxy:3128\n"
                "    storage_class: COLD\n"
                "    server_side_encryption: AES256\n"
                "    tags: {cost-centre: \"a +b/7\", empty: \"\"}\n"
                "    versions: first\n",
                "s3://my.bucket/a/b.c//"));
  const Config config = file.load();
  const RepositoryConfig& main = config.repository("");
  const auto& options = main.s3.options;
  EXPECT_EQ(main.url, "s3://my.bucket/a/b.c");
  EXPECT_EQ(options.bucket, "my.bucket");
  EXPECT_EQ(options.prefix, "a/b.c");
  EXPECT_EQ(options.path_style, false);
  EXPECT_EQ(options.ca_file, (file.directory() / "tls/ca.pem").string());
  EXPECT_EQ(options.proxy, "http://user:secret@proxy:3128");
  EXPECT_EQ(options.storage_class, "COLD");
  EXPECT_TRUE(options.encrypt);
  EXPECT_EQ(options.tags, "cost-centre=a%20%2Bb%2F7&empty=");
  EXPECT_TRUE(options.first_versions);
  EXPECT_EQ(options.object_lock, std::nullopt);
  EXPECT_EQ(options.rate_bytes, 0U);
  EXPECT_EQ(main.s3.credentials.file, (file.directory() / "keys").string());
  EXPECT_EQ(main.s3.credentials.profile, "backup");
  EXPECT_EQ(ConfigFile(in_bucket("", "s3://bucket")).load().repository("").s3.options.prefix, "");
}

TEST(Config, AJobMayNameSeveralRepositories) {
  const auto jobs = [](std::string_view repository) {
    return "repositories: {near: {url: a, key_file: k}, far: {url: b, key_file: k}}\n"
           "components: {database: {type: postgresql, connection: x}}\n"
           "jobs:\n  daily: {at: \"@daily\", backup: all, repository: " +
           std::string(repository) + "}\n";
  };
  EXPECT_THAT(ConfigFile(jobs("[far, near]")).load().job("daily").repositories,
              ElementsAre("far", "near"));
  EXPECT_THAT(ConfigFile(jobs("far")).load().job("daily").repositories, ElementsAre("far"));
  EXPECT_THAT(ConfigFile(jobs("[far, nera]")).problem(), HasSubstr("called \"nera\""));
  EXPECT_THAT(ConfigFile(jobs("[far, far]")).problem(), HasSubstr("named twice"));
}

TEST(Config, SaysHowFarWalGoesAhead) {
  EXPECT_EQ(ConfigFile(with()).load().wal.push_ahead, 0);
  EXPECT_EQ(ConfigFile(with()).load().wal.fetch_ahead, 8);
  const Config config = ConfigFile(with("", "", "wal: {push_ahead: 16, fetch_ahead: 0}\n")).load();
  EXPECT_EQ(config.wal.push_ahead, 16);
  EXPECT_EQ(config.wal.compression, std::nullopt);
  EXPECT_EQ(config.wal.fetch_ahead, 0);
}

TEST(Config, SaysWhereAComponentIsBackedUp) {
  const Config config = ConfigFile(
                            "repositories: {a: {url: a, key_file: k}, b: {url: b, key_file: k}, "
                            "c: {url: c, key_file: k}}\n"
                            "components:\n"
                            "  any: {type: files, root: .}\n"
                            "  own: {type: secrets, root: ., repository: [b, c]}\n")
                            .load();
  const auto places = [&](const std::string& component, std::vector<std::string> wanted) {
    return config.repositories_for(config.component(component), wanted);
  };
  EXPECT_THAT(places("any", {}), ElementsAre("a"));
  EXPECT_THAT(places("any", {"c", "b"}), ElementsAre("c", "b"));
  EXPECT_THAT(places("own", {}), ElementsAre("b", "c"));
  EXPECT_THAT(places("own", {"a"}), ElementsAre("b", "c"));
  EXPECT_THAT(places("own", {"a", "c"}), ElementsAre("c"));
}

TEST(Config, LeavesRepositoriesOutOfFiles) {
  const Config config =
      ConfigFile(
          "repositories: {a: {url: '/srv/odd [name]', key_file: k}, "
          "b: {url: /elsewhere, key_file: k}, c: {url: s3://srv/c, key_file: k}}\n"
          "components:\n"
          "  whole: {type: files, root: /srv, exclude: [x]}\n"
          "  beside: {type: files, root: /srv/odd}\n")
          .load();
  EXPECT_THAT(config.component("whole").exclude, ElementsAre("x", R"(/odd \[name]/)"));
  EXPECT_THAT(config.component("beside").exclude, ElementsAre());
}

TEST(Config, NamesWhatItAcceptsAndDoesNotActOn) {
  const Config config = ConfigFile(kExample).load();
  EXPECT_THAT(config.without_effect,
              ElementsAre("jobs.*.at", "notify", "metrics", "plans", "components.database.checks"));
  EXPECT_THAT(ConfigFile(with()).load().without_effect, ElementsAre());
}

struct Mistake {
  std::string name;
  std::string text;
  std::string at;       // LINE:COLUMN
  std::string problem;  // part of the message
  std::string hint;     // part of the hint
};

class ConfigMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistakes, NamesPlaceAndCause) {
  const std::string problem = ConfigFile(GetParam().text).problem();
  EXPECT_THAT(problem, StartsWith(GetParam().at + ": "));
  EXPECT_THAT(problem, HasSubstr(GetParam().problem));
  EXPECT_THAT(problem.substr(problem.find(" | ")), HasSubstr(GetParam().hint));
}

const Mistake kMistakes[] = {
    {"UnknownTopKey", "repositorys: {}\n", "1:1", "unknown key \"repositorys\"",
     "\"repositories\""},
    {"UnknownNestedKey", with("    compresion: 3\n"), "5:5",
     "unknown key \"compresion\" in repositories.main", "\"compression\""},
    {"NothingNear", with("    zzzzzzzzzzzz: 3\n"), "5:5", "zzzzzzzzzzzz", "known: url, key_file"},
    {"KeyOfAnotherType", with("", "    root: /x\n"), "9:5", "unknown key \"root\"", "known: type"},
    {"UnknownType",
     "repositories: {main: {url: /b, key_file: /k}}\ncomponents:\n  d: {type: postgres}\n", "3:13",
     "unknown type \"postgres\"", "\"postgresql\""},
    {"NoType", "repositories: {main: {url: /b, key_file: /k}}\ncomponents:\n  d: {root: /}\n",
     "3:6", "lacks the key \"type\"", "postgresql, redis, files, secrets"},
    {"MissingKey",
     "repositories: {main: {url: /b, key_file: /k}}\ncomponents:\n  d: {type: redis}\n", "3:6",
     "components.d lacks the key \"url\"", ""},
    {"NoRepositories", "stack: x\n", "1:1", "lacks the key \"repositories\"", ""},
    {"EmptyRepositories", "repositories: {}\n", "1:1", "repositories is empty", ""},
    {"WrongNumber", with("    compression: lots\n"), "5:18", "a number from 0 to 22", ""},
    {"NumberTooLarge", with("    compression: 23\n"), "5:18", "a number from 0 to 22", ""},
    {"ListForText", with("", "    dumps: {a: b}\n"), "9:12", "a list of texts", ""},
    {"MapForText", "stack: {a: b}\nrepositories: {main: {url: /b, key_file: /k}}\n", "1:8",
     "stack must be text", ""},
    {"TextForMap", "repositories: main\n", "1:15", "repositories must be a map", ""},
    {"EmptyText", "repositories: {main: {url: '', key_file: /k}}\n", "1:28", "not empty", ""},
    {"WrongDuration", with("", "", "wal: {keep: forever}\n"), "9:13", "wal.keep must be a duration",
     ""},
    {"WrongSize", with("", "", "limits: {rate: fast}\n"), "9:16", "limits.rate must be a size", ""},
    {"WrongBoolean", with("", "", "limits: {low_priority: maybe}\n"), "9:24", "true or false", ""},
    {"WrongWorkers", with("", "", "limits: {workers: 0}\n"), "9:19", "auto or a number", ""},
    {"WrongSchedule", with("", "", "jobs: {j: {at: \"0 2 * *\", verify: latest}}\n"), "9:16",
     "five fields", ""},
    {"WrongChoice", with("", "", "jobs: {j: {at: \"0 2 * * *\", backup: all, kind: ful}}\n"),
     "9:48", "one of: full, incremental", "\"full\""},
    {"WrongEvent", with("", "", "notify: [{webhook: {url: x, on: [failur]}}]\n"), "9:34",
     "one of: failure", "\"failure\""},
    {"TwoKinds", with("", "", "jobs: {j: {at: \"0 2 * * *\", backup: all, verify: all}}\n"), "9:11",
     "exactly one of: backup, verify, drill", ""},
    {"BothKeys", with("    key_file: /k\n    passphrase: {env: P}\n"), "3:5",
     "exactly one of: key_file, passphrase", ""},
    {"StepOfTwo", with("", "", "plans: {p: {steps: [{run: a, http: b}]}}\n"), "9:21",
     "plans.p.steps[1] must have exactly one", ""},
    {"BadName", "repositories: {Main: {url: /b, key_file: /k}}\n", "1:16", "\"Main\" is no name",
     "a-z"},
    {"ReservedName", "repositories: {all: {url: /b, key_file: /k}}\n", "1:16", "\"all\" is no name",
     "all"},
    {"TwiceTheSameKey", with("    url: /again\n"), "5:5", "second time (first in line 3)", ""},
    {"WrongUrl", "repositories: {main: {url: \"ftp://x\", key_file: /k}}\n", "1:28", "s3://", ""},
    {"S3KeyOfADirectory", with("    object_lock: 30d\n"), "5:5", "\"object_lock\" is for", ""},
    {"TagsOfADirectory", with("    tags: {a: b}\n"), "5:5", "\"tags\" is for", ""},
    {"NoBucket", in_bucket("", "s3://"), "3:10", "\"\" is no bucket's name", "s3://bucket/prefix"},
    {"BadBucket", in_bucket("", "s3://My_Bucket/x"), "3:10", "\"My_Bucket\" is no bucket's name",
     "3 to 63"},
    {"AddressForBucket", in_bucket("", "s3://127.0.0.1/x"), "3:10", "is no bucket's name", ""},
    {"BadPrefix", in_bucket("", "s3://bucket/a//b"), "3:10", "\"a//b\" is no prefix", "single /"},
    {"PrefixUpwards", in_bucket("", "s3://bucket/../x"), "3:10", "is no prefix", ""},
    {"EndpointWithoutScheme", in_bucket("    endpoint: s3.example.com\n"), "5:15",
     "an endpoint must be a URL", "https://s3.example.com"},
    {"EndpointOfAnotherKind", in_bucket("    endpoint: ftp://s3.example.com\n"), "5:15",
     "an endpoint must be a URL", ""},
    {"WrongPathStyle", in_bucket("    path_style: path\n"), "5:17", "true or false", ""},
    {"WrongRegion", in_bucket("    region: \"eu central\"\n"), "5:13", "a region is a word", ""},
    {"WrongClass", in_bucket("    storage_class: DEEP_ARCHIV\n"), "5:20",
     "no storage class DEEP_ARCHIV", "\"DEEP_ARCHIVE\""},
    {"WrongEncryption", in_bucket("    server_side_encryption: AES\n"), "5:29",
     "must be one of: AES256", "AES256"},
    {"WrongEncryptionKey", in_bucket("    server_side_encryption: {key: x}\n"), "5:30",
     "unknown key \"key\"", "kms_key"},
    {"NoLock", in_bucket("    object_lock: 0d\n"), "5:18", "longer than nothing", ""},
    {"NestedTag", in_bucket("    tags: {a: {b: c}}\n"), "5:15", "tags.a must be text", ""},
    {"WrongTag", in_bucket("    tags: {\"a*\": b}\n"), "5:12", "\"a*\" cannot be a tag", ""},
    {"WrongVersions", in_bucket("    versions: last\n"), "5:15", "must be one of: first", ""},
    {"UnknownOfCredentials", in_bucket("    credentials: {env: X}\n"), "5:19",
     "unknown key \"env\"", "file"},
    {"UnknownComponent", with("", "", "jobs: {j: {at: \"0 2 * * *\", backup: [databse]}}\n"),
     "9:38", "no component called \"databse\"", "\"database\""},
    {"UnknownRepository",
     with("", "", "jobs: {j: {at: \"0 2 * * *\", backup: all, repository: mian}}\n"), "9:54",
     "no repository called \"mian\"", "\"main\""},
    {"UnknownPlan", with("", "", "jobs: {j: {at: \"0 2 * * *\", drill: full}}\n"), "9:36",
     "no plan called \"full\"", ""},
    {"UnknownInPlan", with("", "", "plans: {p: {steps: [{restore: databas}]}}\n"), "9:31",
     "no component called \"databas\"", "\"database\""},
    {"SecretWithTwoSources", with("    passphrase: {env: A, file: b}\n"), "4:17",
     "must name its source", "{file: PATH} or {env: NAME}"},
    {"UnknownSource", with("    passphrase: {envv: A}\n"), "4:18", "unknown key \"envv\"",
     "\"env\""},
    {"NoYaml", "repositories: [\n", "2:1", "no valid YAML", ""},
    {"UnsetVariable", with("", "", "stack: ${HOLDFAST_TEST_UNSET}\n"), "9:8",
     "HOLDFAST_TEST_UNSET is not set", ""},
    {"OpenVariable", with("", "", "stack: ${HOLDFAST\n"), "9:8", "not followed by a name", "$${"},
};

INSTANTIATE_TEST_SUITE_P(All, ConfigMistakes, testing::ValuesIn(kMistakes),
                         [](const auto& mistake) { return mistake.param.name; });

TEST(Config, NeverRepeatsAProxysPassword) {
  const std::string problem = ConfigFile(in_bucket("    proxy: user:hunter2@proxy\n")).problem();
  EXPECT_THAT(problem, AllOf(StartsWith("5:12: "), HasSubstr("must be a URL")));
  EXPECT_THAT(problem, Not(HasSubstr("hunter2")));
}

TEST(Config, RefusesASecretInPlainSightWithoutRepeatingIt) {
  const std::string problem = ConfigFile(with("    passphrase: hunter2\n")).problem();
  EXPECT_THAT(problem, AllOf(StartsWith("4:17: "), HasSubstr("{env: NAME}")));
  EXPECT_THAT(problem, Not(HasSubstr("hunter2")));
}

TEST(Config, ExpandsVariablesInValues) {
  setenv("HOLDFAST_TEST_PLACE", "/srv", 1);
  const ConfigFile file(
      "stack: a$${B}c\n"
      "repositories: {main: {url: \"${HOLDFAST_TEST_PLACE}/x${HOLDFAST_TEST_PLACE}\", key_file: "
      "/k}}\n");
  const Config config = file.load();
  EXPECT_EQ(config.repository("").url, "/srv/x/srv");
  EXPECT_EQ(config.stack, "a${B}c");
}

TEST(Config, PathsCountFromTheFileAndFromHome) {
  setenv("HOME", "/home/someone", 1);
  const ConfigFile file(
      "repositories:\n"
      "  near: {url: backups/../repo, key_file: keys/a}\n"
      "  home: {url: ~/repo, passphrase: {file: ~/pass}}\n");
  const Config config = file.load();
  EXPECT_EQ(config.repository("near").url, (file.directory() / "repo").string());
  EXPECT_EQ(config.repository("near").key_file, (file.directory() / "keys/a").string());
  EXPECT_EQ(config.repository("home").url, "/home/someone/repo");
  EXPECT_EQ(config.repository("home").passphrase.value, "/home/someone/pass");
}

TEST(Config, NamesTheKnownForAnUnknownName) {
  const Config config = ConfigFile(with()).load();
  try {
    config.component("databse");
    FAIL() << "no error";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::kUsage);
    EXPECT_THAT(error.hint(), HasSubstr("database"));
  }
  EXPECT_THROW(config.repository("x"), base::Error);
  EXPECT_THROW(config.job("x"), base::Error);
}

TEST(Config, StopsAtATreeThatIsTooLarge) {
  // Each anchor holds the one before it ten times: a small file, and a billion values.
  std::string text = "stack: &a0 [x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "k" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) text += before + (j < 9 ? ", " : "]\n");
  }
  EXPECT_THAT(ConfigFile(text).problem(), HasSubstr("too large"));
}

TEST(FindConfig, TakesTheFirstThatIsThere) {
  const ConfigFile given(with());
  const ConfigFile variable(with());
  setenv("HOLDFAST_CONFIG", variable.path().c_str(), 1);
  EXPECT_EQ(find_config(given.path().string()), given.path());
  EXPECT_EQ(find_config(""), variable.path());
  setenv("HOLDFAST_CONFIG", "/nowhere/holdfast.yaml", 1);
  EXPECT_THROW(find_config(""), base::Error);
  unsetenv("HOLDFAST_CONFIG");
  EXPECT_THROW(find_config("/nowhere/holdfast.yaml"), base::Error);
}

}  // namespace
}  // namespace holdfast::stack
