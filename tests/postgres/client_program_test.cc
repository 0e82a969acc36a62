#include "postgres/client_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repository/fixture.h"

namespace holdfast::postgres {
namespace {

using repository::error_of;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(ClientConnectionTest, ThePasswordGoesByTheEnvironment) {
  for (const char* conninfo :
       {"host=db.example port=5433 user=backup password='c4n\\'ry' dbname=shop",
        "postgresql://backup:c4n%27ry@db.example:5433/shop"}) {
    const ClientConnection connection = client_connection(conninfo);
    EXPECT_THAT(connection.conninfo, Not(HasSubstr("c4n"))) << conninfo;
    EXPECT_THAT(connection.conninfo, HasSubstr("host='db.example'"));
    EXPECT_THAT(connection.conninfo, HasSubstr("dbname='shop'"));
  }
  EXPECT_THAT(client_connection("postgresql://backup:c4n%27ry@db.example/shop").environment,
              ElementsAre("PGPASSWORD=c4n'ry"));
  EXPECT_THAT(client_connection("host=/run").environment, IsEmpty());
}

TEST(ClientConnectionTest, AnotherDatabaseGoesBeforeItsOwn) {
  EXPECT_EQ(client_connection("dbname=postgres", "We ird'\\").conninfo, "dbname='We ird\\'\\\\'");
  EXPECT_EQ(client_connection("", "shop").conninfo, "dbname='shop'");
}

TEST(ClientConnectionTest, NoErrorShowsWhatMayBeAPassword) {
  for (const char* conninfo :
       {"host=x password=my c4nary", "password='c4nary", "host=x sslpassword=c4nary"}) {
    const base::Error error = error_of([&] { client_connection(conninfo); });
    EXPECT_EQ(error.kind(), base::ErrorKind::kConfig);
    EXPECT_THAT(error.what(), Not(HasSubstr("c4nary")));
    EXPECT_THAT(error.hint(), Not(HasSubstr("c4nary")));
  }
}

TEST(ClientProgramsTest, RunsThemWithoutAPasswordInTheArguments) {
  const ClientPrograms programs("/opt/programs");
  const base::ProcessOptions options =
      programs.command("pg_dump", client_connection("host=x password=c4nary"), {"--schema-only"});
  EXPECT_THAT(options.argv,
              ElementsAre("/opt/programs/pg_dump", "-w", "-d", "host='x'", "--schema-only"));
  EXPECT_THAT(options.extra_environment, Contains("PGPASSWORD=c4nary"));
  EXPECT_NE(options.end_with_us, 0);
}

TEST(ClientProgramsTest, SaysWhatToInstallForAServerThatIsTooNew) {
  const base::Error error = error_of([] { ClientPrograms::find(999); });
  EXPECT_THAT(error.what(), HasSubstr("999"));
  EXPECT_THAT(error.hint(), HasSubstr("postgresql-client-999"));
}

TEST(ClientProgramsTest, AFailureNamesTheSignal) {
  EXPECT_EQ(failure_of("/opt/pg_dump", {1, false, "", "no\nnever\n"}),
            "pg_dump failed (exit status 1): no; never");
  EXPECT_EQ(failure_of("psql", {137, false, "", ""}), "psql was killed by signal 9");
}

TEST(ClientProgramsTest, LastWordsAreOnOneLineAndFew) {
  EXPECT_EQ(last_words("pg_dump: error: no\npg_dump: detail: never\n"),
            "pg_dump: error: no; pg_dump: detail: never");
  std::string much(5000, 'x');
  much += "\nthe end\n";
  EXPECT_EQ(last_words(much), "the end");
}

}  // namespace
}  // namespace holdfast::postgres
