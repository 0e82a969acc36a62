#include "postgres/control_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "postgres/crc32c.h"
#include "postgres/temporary_server.h"

namespace holdfast::postgres {
namespace {

using base::Bytes;
using base::ByteView;
using testing::HasSubstr;

Bytes make_control_file(std::uint64_t system_id, std::uint32_t version, std::uint32_t state) {
  base::ByteWriter writer;
  writer.u64(system_id);
  writer.u32(version);
  writer.u32(202209061);
  writer.u32(state);
  Bytes bytes = writer.take();
  bytes.resize(288, 0x5A);
  base::ByteWriter crc;
  crc.u32(crc32c(0, bytes));
  bytes.insert(bytes.end(), crc.view().begin(), crc.view().end());
  bytes.resize(8192);
  return bytes;
}

TEST(ControlFile, IsRead) {
  const ControlFile file =
      parse_control_file(make_control_file(7'000'000'000'000'000'001, 1300, 6));
  EXPECT_EQ(file.system_id, 7'000'000'000'000'000'001U);
  EXPECT_EQ(file.pg_control_version, 1300U);
  EXPECT_EQ(file.catalog_version, 202209061U);
  EXPECT_EQ(file.state, ControlFile::kStateInProduction);
  EXPECT_NO_THROW(parse_control_file(make_control_file(1, 1700, 1)));
  EXPECT_NO_THROW(parse_control_file(make_control_file(1, 1800, 1)));
}

TEST(ControlFile, RefusesWhatIsNone) {
  EXPECT_THROW(parse_control_file({}), base::Error);
  EXPECT_THROW(parse_control_file(Bytes(100, 1)), base::Error);
  EXPECT_THROW(parse_control_file(Bytes(8192)), base::Error);
  EXPECT_THROW(parse_control_file(Bytes(9000, 1)), base::Error);
  EXPECT_THROW(parse_control_file(make_control_file(0, 1300, 6)), base::Error);
  EXPECT_THROW(parse_control_file(make_control_file(1, 1201, 6)), base::Error);
  EXPECT_THROW(parse_control_file(make_control_file(1, 1300, 7)), base::Error);
  EXPECT_THROW(parse_control_file(make_control_file(1, 1300U << 16, 0)), base::Error);
}

TEST(ControlFile, KnowsATornRead) {
  Bytes bytes = make_control_file(1, 1300, 6);
  EXPECT_TRUE(is_control_file_whole(bytes));
  EXPECT_TRUE(is_control_file_whole(ByteView{bytes}.first(512)));
  bytes[100] ^= 1;
  EXPECT_FALSE(is_control_file_whole(bytes));
  EXPECT_FALSE(is_control_file_whole({}));
  EXPECT_FALSE(is_control_file_whole(Bytes(300)));
  EXPECT_FALSE(is_control_file_whole(Bytes(8192)));
}

TEST(ControlFileOfAServer, IsReadAsPgControldataDoes) {
  HOLDFAST_NEED_SERVER();
  TemporaryServer server;
  const Bytes bytes = base::read_file(server.data() / "global" / "pg_control", 8192);
  const ControlFile file = parse_control_file(bytes);
  const std::string said = server.run("pg_controldata", {server.data()});
  EXPECT_THAT(said, HasSubstr(fmt::format("pg_control version number:            {}\n",
                                          file.pg_control_version)));
  EXPECT_THAT(said, HasSubstr(fmt::format("Latest checkpoint's full_page_writes: {}\n",
                                          file.full_page_writes ? "on" : "off")));
  EXPECT_THAT(said, HasSubstr(fmt::format("Catalog version number:               {}\n",
                                          file.catalog_version)));
  EXPECT_THAT(said,
              HasSubstr(fmt::format("Database system identifier:           {}\n", file.system_id)));
  EXPECT_EQ(file.state, ControlFile::kStateShutDown);
  EXPECT_EQ(system_id_of_data_directory(server.data()), file.system_id);
  EXPECT_TRUE(is_control_file_whole(bytes));
  EXPECT_THROW(system_id_of_data_directory(server.directory()), base::Error);
}

}  // namespace
}  // namespace holdfast::postgres
