// Names, and the script that goes around pg_dump's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "base/error.h"
#include "postgres/client_environment.h"
#include "postgres/table_copy.h"
#include "postgres/table_name.h"
#include "postgres/table_server.h"

namespace holdfast::postgres {
namespace {

TEST(TableName, IsReadAsSqlReadsIt) {
  EXPECT_EQ(parse_table_name("orders"), (TableName{"public", "orders"}));
  EXPECT_EQ(parse_table_name("Shop.Orders"), (TableName{"shop", "orders"}));
  EXPECT_EQ(parse_table_name("\"Shop\".\"We ird.Tab\""), (TableName{"Shop", "We ird.Tab"}));
  EXPECT_EQ(parse_table_name("shop.\"a\"\"b\""), (TableName{"shop", "a\"b"}));
  EXPECT_EQ(parse_table_name("ÄRGER"), (TableName{"public", "Ärger"}));  // ASCII alone is folded
}

TEST(TableName, RefusesWhatIsNone) {
  for (const char* text : {"", ".", "a.", ".a", "a.b.c", "\"a", "a\"b", "\"\"", "\"a\"b", "a..b"}) {
    EXPECT_THROW(std::ignore = parse_table_name(text), base::Error) << text;
  }
  EXPECT_THROW(std::ignore = parse_table_name(std::string(64, 'x')), base::Error);
  EXPECT_NO_THROW(std::ignore = parse_table_name(std::string(63, 'x')));
}

TEST(TableName, IsQuotedForSqlAndOnlyWhereNeededForPeople) {
  EXPECT_EQ(sql_name({"a", "b\"c"}), "\"a\".\"b\"\"c\"");
  EXPECT_EQ(shown_name({"shop", "orders_2"}), "shop.orders_2");
  EXPECT_EQ(shown_name({"Shop", "2nd"}), "\"Shop\".\"2nd\"");
  for (const TableName& name :
       {TableName{"shop", "orders"}, TableName{"O \"o", "x.y"}, TableName{"public", "Tab\n"}}) {
    EXPECT_EQ(parse_table_name(shown_name(name)), name);
  }
}

TEST(TableName, LiteralsEscapeWhatEndsThem) {
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
  EXPECT_EQ(quote_literal("a\\'"), "E'a\\\\'''");
}

TEST(TableName, SuffixFitsAlways) {
  EXPECT_EQ(with_suffix("orders", "_old"), "orders_old");
  const std::string longest(63, 'x');
  const std::string cut = with_suffix(longest, "_old");
  EXPECT_EQ(cut.size(), 63U);
  EXPECT_TRUE(cut.ends_with("_old"));
  std::string other = longest;
  other.back() = 'y';
  EXPECT_NE(cut, with_suffix(other, "_old"));
  // No half of a character is left: 31 times two bytes.
  std::string umlauts;
  for (int i = 0; i < 31; ++i) umlauts += "ä";
  const std::string kept = with_suffix(umlauts, "_old");
  EXPECT_LE(kept.size(), 63U);
  EXPECT_EQ(kept.find('_') % 2, 0U);
}

TEST(TableCopy, ArraysAreQuoted) {
  EXPECT_EQ(array_literal({}), "{}");
  EXPECT_EQ(array_literal({"a", "b\"c\\d"}), "{\"a\",\"b\\\"c\\\\d\"}");
}

TEST(TableCopy, CommitsLastAndOnlyWhereAllIsThere) {
  EXPECT_TRUE(script_after({}).ends_with("COMMIT;\n"));
  const std::string script = script_after({.expected = {{"we'ird", "orders"}}});
  EXPECT_TRUE(script.ends_with("SELECT '\"we''ird\".\"orders\"'::pg_catalog.regclass;\nCOMMIT;\n"));
}

TEST(TableCopy, ReplacesWithoutCascadeAndPutsForeignKeysBack) {
  const std::string script =
      script_after({.replaced = {{"we'ird", "orders"}, {"public", "b"}},
                    .moves = {"ALTER TABLE \"holdfast_1\".\"orders\" SET SCHEMA \"we'ird\""},
                    .staging = {"holdfast_1"},
                    .foreign_keys = {{"public.items", "items_fkey",
                                      "FOREIGN KEY (o) REFERENCES orders(id)", "it's"}}});
  EXPECT_EQ(script.find("CASCADE"), std::string::npos);
  // Names in another encoding than pg_dump's script would be others.
  EXPECT_TRUE(script.starts_with("SET client_encoding = 'UTF8';\n"));
  std::size_t at = 0;
  for (const char* command :
       {"ALTER TABLE public.items DROP CONSTRAINT items_fkey;",
        "DROP TABLE \"we'ird\".\"orders\", \"public\".\"b\";",
        "ALTER TABLE \"holdfast_1\".\"orders\" SET SCHEMA \"we'ird\";",
        "DROP SCHEMA \"holdfast_1\";",
        "ALTER TABLE public.items ADD CONSTRAINT items_fkey FOREIGN KEY (o) REFERENCES orders(id);",
        "COMMENT ON CONSTRAINT items_fkey ON public.items IS 'it''s';", "COMMIT;"}) {
    const auto found = script.find(command, at);
    ASSERT_NE(found, std::string::npos) << command << " in its place of\n" << script;
    at = found;
  }
}

TEST(ClientEnvironment, IsAwayForAWhile) {
  ::setenv("PGHOSTADDR", "192.0.2.1", 1);
  ::setenv("PGCONNECT_TIMEOUT", "7", 1);
  ::setenv("PG_OF_OTHERS", "stays", 1);
  {
    const WithoutClientEnvironment without;
    EXPECT_EQ(::getenv("PGHOSTADDR"), nullptr);
    EXPECT_EQ(::getenv("PGCONNECT_TIMEOUT"), nullptr);
    EXPECT_STREQ(::getenv("PG_OF_OTHERS"), "stays");
    EXPECT_NE(::getenv("PATH"), nullptr);
    const auto& taken = without.taken();
    EXPECT_NE(std::find(taken.begin(), taken.end(), "PGHOSTADDR=192.0.2.1"), taken.end());
  }
  EXPECT_STREQ(::getenv("PGHOSTADDR"), "192.0.2.1");
  for (const char* name : {"PGHOSTADDR", "PGCONNECT_TIMEOUT", "PG_OF_OTHERS"}) ::unsetenv(name);
}

TEST(TableServer, TablespacesOfADumpGoElsewhere) {
  std::vector<std::filesystem::path> directories;
  const std::string script =
      "CREATE ROLE a;\nCREATE TABLESPACE \"x y\" OWNER a LOCATION '/mnt/it''s';\nALTER ROLE a;";
  EXPECT_EQ(with_tablespaces_in(script, "/scratch/t", directories),
            "CREATE ROLE a;\nCREATE TABLESPACE \"x y\" OWNER a LOCATION '/scratch/t/1';\n"
            "ALTER ROLE a;");
  EXPECT_EQ(directories, (std::vector<std::filesystem::path>{"/scratch/t/1"}));
}

}  // namespace
}  // namespace holdfast::postgres
