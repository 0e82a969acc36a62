// Names, and the script that goes around pg_dump's.
#include <gtest/gtest.h>

#include <tuple>

#include "base/error.h"
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

TEST(TableCopy, CommitsLast) { EXPECT_EQ(script_after({}, {}, {}, {}), "COMMIT;\n"); }

TEST(TableCopy, ReplacesWithoutCascadeAndPutsForeignKeysBack) {
  const std::string script =
      script_after({}, {{"holdfast_1", "we'ird"}}, {{"we'ird", "orders"}, {"public", "b"}},
                   {{"public.items", "items_fkey", "FOREIGN KEY (o) REFERENCES orders(id)"}});
  EXPECT_EQ(script.find("CASCADE"), std::string::npos);
  const auto drop_key = script.find("ALTER TABLE public.items DROP CONSTRAINT items_fkey;");
  const auto drop = script.find("DROP TABLE \"we'ird\".\"orders\", \"public\".\"b\";");
  const auto move = script.find("'\"holdfast_1\"'::regnamespace");
  const auto gone = script.find("DROP SCHEMA \"holdfast_1\";");
  const auto add_key = script.find(
      "ALTER TABLE public.items ADD CONSTRAINT items_fkey FOREIGN KEY (o) REFERENCES orders(id);");
  const auto commit = script.find("COMMIT;");
  ASSERT_NE(drop_key, std::string::npos);
  EXPECT_LT(drop_key, drop);
  EXPECT_LT(drop, move);
  EXPECT_LT(move, gone);
  EXPECT_LT(gone, add_key);
  EXPECT_LT(add_key, commit);
  EXPECT_NE(script.find("'we''ird'"), std::string::npos);
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
