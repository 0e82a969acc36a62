#include "base/piped_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <thread>

#include "base/error.h"

namespace holdfast::base {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class PipedProcessTest : public testing::Test {
 protected:
  void SetUp() override { old_handler_ = signal(SIGPIPE, SIG_IGN); }
  void TearDown() override { signal(SIGPIPE, old_handler_); }

  static ProcessOptions shell(std::string script) {
    return {.argv = {"sh", "-c", std::move(script)}};
  }

  static std::string read_all(PipedProcess& process) {
    Bytes buffer(100'000);
    std::string text;
    while (const std::size_t size = process.read(buffer, {})) {
      text += as_text(ByteView(buffer.data(), size));
    }
    return text;
  }

  static void expect_interrupted(const std::function<void(std::stop_token)>& body) {
    std::stop_source source;
    std::jthread stopper([&] {
      std::this_thread::sleep_for(50ms);
      source.request_stop();
    });
    try {
      body(source.get_token());
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
    }
  }

 private:
  sighandler_t old_handler_ = SIG_DFL;
};

TEST_F(PipedProcessTest, GivesTheOutputAsItComes) {
  PipedProcess process(shell("echo one; read line; echo two"), {.input = true, .output = true});
  Bytes buffer(100);
  EXPECT_EQ(process.read(buffer, {}), 4U);
  EXPECT_TRUE(process.write(as_bytes("go on\n"), {}));
  EXPECT_EQ(process.read(buffer, {}), 4U);
  EXPECT_EQ(as_text(ByteView(buffer.data(), 4)), "two\n");
  EXPECT_EQ(process.read(buffer, {}), 0U);
  EXPECT_EQ(process.wait({}).exit_status, 0);
}

TEST_F(PipedProcessTest, MuchMoreThanAPipeHoldsPassesThrough) {
  std::string sent(10'000'000, 'x');
  for (std::size_t i = 0; i < sent.size(); i += 7) sent[i] = static_cast<char>('a' + i % 26);
  PipedProcess process({.argv = {"cat"}}, {.input = true, .output = true});
  std::thread writer([&] {
    EXPECT_TRUE(process.write(as_bytes(sent), {}));
    process.close_input();
  });
  const std::string received = read_all(process);
  writer.join();
  EXPECT_TRUE(received == sent);
  EXPECT_EQ(process.wait({}).exit_status, 0);
}

TEST_F(PipedProcessTest, KeepsTheEndOfStandardErrorWhateverItsLength) {
  ProcessOptions options =
      shell("head -c 5000000 /dev/zero | tr '\\0' x >&2; echo out; echo last words >&2; exit 3");
  options.max_output_bytes = 1000;
  PipedProcess process(options, {.output = true});
  EXPECT_EQ(read_all(process), "out\n");
  const ProcessResult result = process.wait({});
  EXPECT_EQ(result.exit_status, 3);
  EXPECT_EQ(result.err.size(), 1000U);
  EXPECT_THAT(result.err, EndsWith("xxlast words\n"));
}

TEST_F(PipedProcessTest, AProgramThatHasEndedTakesNoMore) {
  PipedProcess process(shell("exit 5"), {.input = true});
  const Bytes much(4'000'000);
  EXPECT_FALSE(process.write(much, {}));
  EXPECT_FALSE(process.write(much, {}));
  EXPECT_EQ(process.wait({}).exit_status, 5);
}

TEST_F(PipedProcessTest, WithoutEndsOfOursItHasDevNull) {
  PipedProcess process(shell("cat; echo nobody reads this; kill -KILL $$"), {});
  EXPECT_EQ(process.wait({}).exit_status, 128 + SIGKILL);
}

TEST_F(PipedProcessTest, AnOutputThatNobodyReadsToTheEndIsNoObstacle) {
  PipedProcess process({.argv = {"yes"}}, {.output = true});
  Bytes buffer(10);
  EXPECT_EQ(process.read(buffer, {}), 10U);
  EXPECT_EQ(process.wait({}).exit_status, 128 + SIGPIPE);
}

TEST_F(PipedProcessTest, AStopInterruptsEveryWait) {
  PipedProcess process(shell("trap '' TERM; while :; do sleep 600; done"),
                       {.input = true, .output = true});
  Bytes buffer(10);
  const Bytes much(4'000'000);
  expect_interrupted([&](const std::stop_token& stop) { process.read(buffer, stop); });
  expect_interrupted([&](const std::stop_token& stop) { (void)process.write(much, stop); });
  expect_interrupted([&](const std::stop_token& stop) { process.wait(stop); });  // kills it
}

TEST_F(PipedProcessTest, ItsEndIsTheEndOfTheProgram) {
  std::string pid;
  {
    PipedProcess process(shell("echo $$; sleep 600 & wait"), {.output = true});
    Bytes buffer(100);
    pid = as_text(ByteView(buffer.data(), process.read(buffer, {})));
    pid.pop_back();
    EXPECT_TRUE(std::filesystem::exists("/proc/" + pid));
  }
  EXPECT_FALSE(std::filesystem::exists("/proc/" + pid));
}

// As where the whole program is killed and can end nothing itself.
TEST_F(PipedProcessTest, EndsWithTheThreadThatStartedItWhereAsked) {
  ProcessOptions options{.argv = {"sleep", "600"}, .end_with_us = SIGTERM};
  std::unique_ptr<PipedProcess> process;
  std::thread([&] { process = std::make_unique<PipedProcess>(options, PipedEnds{}); }).join();
  EXPECT_EQ(process->wait({}).exit_status, 128 + SIGTERM);
}

TEST_F(PipedProcessTest, AProgramThatIsNotThereIsAnError) {
  try {
    PipedProcess process({.argv = {"/no/such/program"}}, {.output = true});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/no/such/program"));
  }
}

}  // namespace
}  // namespace holdfast::base
