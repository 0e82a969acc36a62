#include "stack/machine.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/file.h"
#include "storage/temporary_directory.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::string_literals;

// A machine made of files below a directory.
class MachineTest : public testing::Test {
 protected:
  void write(const fs::path& path, const std::string& content = "") {
    const fs::path file = root() / path.relative_path();
    fs::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }
  void make_directory(const fs::path& path) {
    fs::create_directories(root() / path.relative_path());
  }
  fs::path root() const { return directory_.path(); }
  Machine look() {
    make_directory("/app/shop");
    return look_at_machine(
        {.root = root(), .directory = root() / "app/shop", .redis_ports = ports_});
  }
  // A server's first process.
  void add_server(int pid, const fs::path& data, const std::string& port,
                  const std::string& sockets) {
    const std::string process = "/proc/" + std::to_string(pid);
    write(process + "/comm", "postgres\n");
    std::string words = "/usr/lib/postgresql/15/bin/postgres\0-D\0"s + data.string();
    words += "\0-c\0config_file=/etc/postgresql/15/main/postgresql.conf"s;
    write(process + "/cmdline", words + '\0');
    write(data / "postmaster.pid", std::to_string(pid) + "\n" + data.string() + "\n1700000000\n" +
                                       port + "\n" + sockets + "\nlocalhost\n  1 2\nready   \n");
  }

  std::vector<int> ports_;

 private:
  storage::TemporaryDirectory directory_;
};

// ---- PostgreSQL

TEST_F(MachineTest, NothingIsFoundWhereNothingIs) {
  const Machine machine = look();
  EXPECT_EQ(machine.directory, "/app/shop");
  EXPECT_THAT(machine.postgres, IsEmpty());
  EXPECT_THAT(machine.redis, IsEmpty());
  EXPECT_THAT(machine.config, IsEmpty());
  EXPECT_THAT(machine.logs, IsEmpty());
  EXPECT_THAT(machine.secrets, IsEmpty());
}

TEST_F(MachineTest, AServerIsFoundByItsProcess) {
  add_server(123, "/var/lib/postgresql/15/main", "5433", "/nowhere/run");
  write("/proc/124/comm", "postgres\n");  // one of its other processes
  write("/proc/124/cmdline", "postgres: 15/main: checkpointer \0"s);
  write("/proc/self/comm", "postgres\n");
  const Machine machine = look();
  ASSERT_THAT(machine.postgres, SizeIs(1));
  const auto& [cluster, asked] = machine.postgres[0];
  EXPECT_TRUE(cluster.runs);
  EXPECT_EQ(cluster.data_directory, "/var/lib/postgresql/15/main");
  EXPECT_EQ(cluster.port, 5433);
  EXPECT_EQ(cluster.host, "/nowhere/run");
  EXPECT_EQ(cluster.config_file, "/etc/postgresql/15/main/postgresql.conf");
  EXPECT_FALSE(asked.info);  // nothing is behind that socket
  EXPECT_FALSE(asked.problem.empty());
  EXPECT_EQ(asked.connection, "host=/nowhere/run port=5433 user=postgres dbname=postgres");
}

TEST_F(MachineTest, DebiansConfigurationBelongsToTheServerThatHasIt) {
  add_server(123, "/var/lib/postgresql/15/main", "5432", "/nowhere/run");
  write("/etc/postgresql/15/main/postgresql.conf",
        "# data_directory = '/wrong'\n"
        "data_directory = '/var/lib/postgresql/15/main'\t# use data in another directory\n"
        "port = 5432  # (change requires restart)\n");
  write("/etc/postgresql/13/old/postgresql.conf",
        "data_directory='/var/lib/postgresql/13/old'\n"
        "unix_socket_directories = '/var/run/postgresql, /tmp'\n"
        "port=5434\nportal = 1\n");
  write("/etc/postgresql/13/old/pg_hba.conf");
  write("/etc/postgresql/14/empty/environment");
  const Machine machine = look();
  ASSERT_THAT(machine.postgres, SizeIs(2));
  EXPECT_EQ(machine.postgres[0].cluster.debian_name, "15/main");
  EXPECT_TRUE(machine.postgres[0].cluster.runs);
  const auto& stopped = machine.postgres[1];
  EXPECT_EQ(stopped.cluster.debian_name, "13/old");
  EXPECT_FALSE(stopped.cluster.runs);
  EXPECT_EQ(stopped.cluster.data_directory, "/var/lib/postgresql/13/old");
  EXPECT_EQ(stopped.cluster.config_file, "/etc/postgresql/13/old/postgresql.conf");
  EXPECT_EQ(stopped.cluster.port, 5434);
  EXPECT_EQ(stopped.cluster.host, "/var/run/postgresql");
  EXPECT_TRUE(stopped.asked.problem.empty());  // it was not asked
}

TEST_F(MachineTest, AServerIsFoundByItsSocketWhereNoProcessIsSeen) {
  const std::string own = std::to_string(::getpid());
  write("/var/run/postgresql/.s.PGSQL.5440");
  write("/var/run/postgresql/.s.PGSQL.5440.lock",
        own + "\n/data/live\n1700000000\n5440\n/var/run/postgresql\n\n");
  write("/tmp/.s.PGSQL.5440");  // the same server listens here too
  write("/tmp/.s.PGSQL.5440.lock", own + "\n/data/live\n1700000000\n5440\n/tmp\n\n");
  write("/tmp/.s.PGSQL.5441");  // left by one that is gone
  write("/tmp/.s.PGSQL.5441.lock", "999999999\n/data/gone\n1700000000\n5441\n/tmp\n\n");
  write("/tmp/.s.PGSQL.x");
  const Machine machine = look();
  ASSERT_THAT(machine.postgres, SizeIs(1));
  EXPECT_EQ(machine.postgres[0].cluster.data_directory, "/data/live");
  EXPECT_EQ(machine.postgres[0].cluster.port, 5440);
  EXPECT_TRUE(machine.postgres[0].cluster.runs);
}

TEST_F(MachineTest, HostileFilesBreakNothing) {
  write("/proc/1/comm", "postgres\n");
  write("/proc/1/cmdline", "");
  write("/proc/2/comm", "postgres\n");
  write("/proc/2/cmdline", "postgres\0-D"s);
  write("/proc/3/comm", "redis-server\n");
  write("/proc/3/cmdline", ":");
  write("/etc/postgresql/15/main/postgresql.conf", "data_directory\nport = 99999999999999\n'\n=\n");
  write("/etc/redis/redis.conf", "port\nport  \nunixsocket \n" + std::string(5000, ' '));
  EXPECT_THAT(look().postgres, SizeIs(2));
}

// ---- Redis

TEST_F(MachineTest, RedisIsFoundByItsConfigurationAndItsProcess) {
  write("/etc/redis/redis.conf", "# port 1\nport 6380\nrequirepass  canary\n");
  write("/proc/77/comm", "redis-server\n");
  write("/proc/77/cmdline", "/usr/bin/redis-server 127.0.0.1:6380\0"s);
  write("/proc/78/comm", "valkey-server\n");
  write("/proc/78/cmdline", "valkey-server *:6390\0"s);
  const Machine machine = look();
  ASSERT_THAT(machine.redis, SizeIs(2));
  EXPECT_EQ(machine.redis[0].url, "redis://localhost:6380");
  EXPECT_EQ(machine.redis[0].config_file, "/etc/redis/redis.conf");
  EXPECT_TRUE(machine.redis[0].runs);
  EXPECT_TRUE(machine.redis[0].has_password);
  EXPECT_EQ(machine.redis[1].url, "redis://localhost:6390");
  EXPECT_FALSE(machine.redis[1].has_password);
}

TEST_F(MachineTest, RedisMayListenOnASocketAlone) {
  write("/etc/valkey/valkey.conf", "port 0\nunixsocket /run/valkey.sock\n");
  const Machine machine = look();
  ASSERT_THAT(machine.redis, SizeIs(1));
  EXPECT_EQ(machine.redis[0].url, "unix:///run/valkey.sock");
  EXPECT_FALSE(machine.redis[0].runs);
}

TEST_F(MachineTest, RedisIsFoundByItsAnswer) {
  const base::UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(server.get(), 1), 0);
  ::getsockname(server.get(), reinterpret_cast<sockaddr*>(&address), &length);
  ports_ = {ntohs(address.sin_port)};
  const std::jthread answering([&] {
    const base::UniqueFd client(::accept(server.get(), nullptr, nullptr));
    char request[16];
    EXPECT_EQ(::recv(client.get(), request, sizeof request, 0), 6);
    const std::string answer = "-NOAUTH Authentication required.\r\n";
    ::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  });
  const Machine machine = look();
  ASSERT_THAT(machine.redis, SizeIs(1));
  EXPECT_TRUE(machine.redis[0].has_password);
}

// ---- Files

TEST_F(MachineTest, TheServicesFilesAreFoundByTheirNames) {
  for (const char* file : {"docker-compose.yml", "docker-compose.prod.yml", "alembic.ini", ".env",
                           ".env.production", ".env.example", "main.py", "tls.pem", "data.csv"}) {
    write(fs::path("/app/shop") / file, "canary");
  }
  for (const char* folder : {"k8s", "scripts", "src", "logs", "secrets"}) {
    make_directory(fs::path("/app/shop") / folder);
  }
  make_directory("/var/log/shop");
  write("/secure/api.key", "canary");
  write("/secure/notes.txt");
  const Machine machine = look();
  EXPECT_EQ(machine.compose_file, "docker-compose.yml");
  EXPECT_THAT(machine.config, ElementsAre("alembic.ini", "docker-compose.prod.yml",
                                          "docker-compose.yml", "k8s/", "scripts/"));
  EXPECT_THAT(machine.logs, ElementsAre("/app/shop/logs", "/var/log/shop"));
  EXPECT_THAT(machine.secrets,
              ElementsAre("/app/shop/.env", "/app/shop/.env.production", "/app/shop/*.pem",
                          "/app/shop/secrets/", "/secure/*.key"));
}

}  // namespace
}  // namespace holdfast::stack
