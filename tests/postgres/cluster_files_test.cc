#include "postgres/cluster_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

class ClusterFilesTest : public testing::Test {
 protected:
  ClusterFilesTest() {
    std::string name = (fs::temp_directory_path() / "cluster-files-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    cluster_.data_directory = (root_ / "data").string();
    fs::create_directories(cluster_.data_directory);
  }
  ~ClusterFilesTest() override { fs::remove_all(root_); }

  void file(const std::string& path, std::size_t size = 8192) {
    const fs::path target = fs::path(cluster_.data_directory) / path;
    fs::create_directories(target.parent_path());
    std::ofstream(target) << std::string(size, 'x');
  }

  std::vector<std::string> listed() {
    std::vector<std::string> paths;
    for (const ClusterFile& entry : list_cluster_files(cluster_).files) {
      if (entry.type == repository::FileType::kFile) paths.push_back(entry.path);
    }
    return paths;
  }

  fs::path root_;
  ClusterInfo cluster_;
};

TEST(RelationFile, IsToldByItsName) {
  const auto relation = parse_relation_file("16384_fsm.3");
  ASSERT_TRUE(relation);
  EXPECT_EQ(relation->number, 16384U);
  EXPECT_EQ(relation->fork, "fsm");
  EXPECT_EQ(relation->segment, 3U);
  EXPECT_EQ(parse_relation_file("1259")->fork, "main");
  for (const char* other : {"pg_control", "PG_VERSION", "16384_", "16384_abc", "16384.", "16384.x",
                            "t3_16384", "", "99999999999999999999"}) {
    EXPECT_FALSE(parse_relation_file(other)) << other;
  }
}

TEST(RelationFile, OfASessionIsTemporary) {
  EXPECT_TRUE(is_temporary_relation("t3_16384"));
  EXPECT_TRUE(is_temporary_relation("t3_16384_vm.1"));
  EXPECT_FALSE(is_temporary_relation("16384"));
  EXPECT_FALSE(is_temporary_relation("t_16384"));
  EXPECT_FALSE(is_temporary_relation("table_1"));
}

TEST_F(ClusterFilesTest, LeavesOutWhatIsOfThisRunOfTheServer) {
  for (const char* path :
       {"postmaster.pid", "postmaster.opts", "backup_label", "tablespace_map", "backup_manifest",
        "base/5/pg_internal.init", "global/pg_internal.init.77", "pg_notify/0000",
        "pg_replslot/slot/state", "pg_subtrans/0000", "pg_stat_tmp/global.stat",
        "base/pgsql_tmp/pgsql_tmp1.0", "base/5/t3_16384", "pg_wal/000000010000000000000001",
        "pg_wal/archive_status/000000010000000000000001.done", "global/pg_control"}) {
    file(path);
  }
  file("PG_VERSION", 3);
  file("base/5/1259");
  EXPECT_EQ(listed(), (std::vector<std::string>{"PG_VERSION", "base/5/1259"}));
}

TEST_F(ClusterFilesTest, KeepsOfAnUnloggedRelationTheInitForkAlone) {
  for (const char* path : {"base/5/16390", "base/5/16390.1", "base/5/16390_fsm",
                           "base/5/16390_init", "base/5/163901", "pg_xact/0000"}) {
    file(path);
  }
  EXPECT_EQ(listed(),
            (std::vector<std::string>{"base/5/163901", "base/5/16390_init", "pg_xact/0000"}));
}

TEST_F(ClusterFilesTest, KnowsTheBlocksOfASegmentAndCutsAPageThatIsHalfThere) {
  file("base/5/16384.2", 8192 + 100);
  const ClusterListing listing = list_cluster_files(cluster_);
  const auto found = std::find_if(listing.files.begin(), listing.files.end(),
                                  [](const auto& f) { return f.path == "base/5/16384.2"; });
  ASSERT_NE(found, listing.files.end());
  EXPECT_TRUE(found->is_relation);
  EXPECT_EQ(found->first_block, 2U * 131072U);
  EXPECT_EQ(found->size_bytes, 8192U);
}

TEST_F(ClusterFilesTest, FollowsTablespacesAndALinkedWalDirectory) {
  const fs::path space = root_ / "space";
  fs::create_directories(space / "PG_15_202209061" / "5");
  std::ofstream(space / "PG_15_202209061" / "5" / "16400") << std::string(8192, 'x');
  fs::create_directories(fs::path(cluster_.data_directory) / "pg_tblspc");
  fs::create_directory_symlink(space, fs::path(cluster_.data_directory) / "pg_tblspc" / "16399");
  fs::create_directories(root_ / "wal");
  std::ofstream(root_ / "wal" / "000000010000000000000001") << "x";
  fs::create_directory_symlink(root_ / "wal", fs::path(cluster_.data_directory) / "pg_wal");

  const ClusterListing listing = list_cluster_files(cluster_);
  std::vector<std::string> paths;
  for (const ClusterFile& entry : listing.files) paths.push_back(entry.path);
  EXPECT_EQ(paths,
            (std::vector<std::string>{
                "pg_tblspc", "pg_tblspc/16399", "pg_tblspc/16399/PG_15_202209061",
                "pg_tblspc/16399/PG_15_202209061/5", "pg_tblspc/16399/PG_15_202209061/5/16400",
                "pg_wal", "pg_wal/archive_status"}));
  EXPECT_EQ(listing.files[1].type, repository::FileType::kSymlink);
  EXPECT_EQ(listing.files[1].link_target, space.string());
  EXPECT_TRUE(listing.files[4].is_relation);
  EXPECT_EQ(listing.files[5].type, repository::FileType::kDirectory);
}

}  // namespace
}  // namespace holdfast::postgres
