#include "postgres/conninfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "postgres/connection.h"
#include "repository/fixture.h"

namespace holdfast::postgres {
namespace {

using repository::error_of;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

TEST(ConninfoTest, ReadsBothForms) {
  for (const char* text : {"host=db.example port=5433 user=backup password='c@n/y' dbname=shop",
                           "postgresql://backup:c%40n%2Fy@db.example:5433/shop"}) {
    const ConnectionOptions options = read_conninfo(text);
    EXPECT_THAT(options, Contains(Pair("host", "db.example"))) << text;
    EXPECT_THAT(options, Contains(Pair("port", "5433"))) << text;
    EXPECT_THAT(options, Contains(Pair("password", "c@n/y"))) << text;
    EXPECT_THAT(options, Contains(Pair("dbname", "shop"))) << text;
  }
  EXPECT_THAT(read_conninfo(""), IsEmpty());
}

TEST(ConninfoTest, TakesWhatIsOddButRight) {
  for (const char* text :
       {"host=/run,[::1],10.0.0.1 port=5432,,65535", "host=@abstract/socket", "port=''",
        "postgresql://u:p@[::1]:5432,other/db", "postgres:///db?host=/run&user=me@server",
        "postgresql://u:p?q@host/db", "dbname='me@home'", "user=me@server password=a@b",
        "postgresql://u@h/d?password=a@b", "postgresql://h"}) {
    EXPECT_NO_THROW(read_conninfo(text)) << text;
  }
}

// Each is read by libpq so that an error of its own, or of the server, would show the canary.
TEST(ConninfoTest, ShowsNothingOfWhatMayBeAPassword) {
  for (const char* text : {
           "c4nary",
           "password=my c4nary",
           "password=my c4nary=x",
           "password='c4nary",
           "postgre://u:c4nary@h/d",
           "postgresql://u:pa@c4nary@/db",
           "postgresql://u:pa@c4nary@host/db",
           "postgresql://u:c4nary/app",
           "postgresql://u:c4nary/x@host/app",
           "postgresql://u:1234/c4nary@host/db",
           "postgresql://u:pa@c4nary/x@host/db",
           "postgresql://u:pa@@c4nary/x@host/db",
           "postgresql://u:12?c4nary@host/db?c4nary",
           "postgresql://u:1%4/c4nary",
           "host='h@c4nary'",
           "host=a,h@c4nary",
           "port=c4nary",
           "port=5432,c4nary",
           "port=' 5432c4nary'",
       }) {
    for (const auto& use :
         {std::function<void()>([&] { read_conninfo(text); }), {[&] { Connection c(text); }}}) {
      const base::Error error = error_of(use);
      EXPECT_EQ(error.kind(), base::ErrorKind::kConfig) << text;
      EXPECT_THAT(error.what(), Not(HasSubstr("c4nary")));
      EXPECT_THAT(error.hint(), Not(HasSubstr("c4nary")));
    }
  }
  EXPECT_EQ(error_of([] { read_conninfo("port=987654"); }).kind(), base::ErrorKind::kConfig);
}

TEST(ConninfoTest, WritesWhatItReads) {
  const ConnectionOptions options = {{"user", "o'ne\\"}, {"dbname", "We ird"}};
  EXPECT_EQ(read_conninfo(conninfo_of(options)), options);
}

TEST(ConninfoTest, KnowsTheUser) {
  EXPECT_EQ(user_of("postgresql://me@h/d"), "me");
  EXPECT_EQ(user_of("host=h"), std::nullopt);
  EXPECT_EQ(user_of("user='"), std::nullopt);
}

}  // namespace
}  // namespace holdfast::postgres
