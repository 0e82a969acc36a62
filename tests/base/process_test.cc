#include "base/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/error.h"

namespace holdfast::base {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using SteadyClock = std::chrono::steady_clock;

ProcessResult run_shell(std::string script) {
  return run_process({.argv = {"sh", "-c", std::move(script)}});
}

template <typename Body>
void expect_error(ErrorKind kind, const std::string& message, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

// Whether the process is gone, or dead and waiting to be reaped by init.
bool is_gone(pid_t pid) {
  const std::filesystem::path status = "/proc/" + std::to_string(pid) + "/stat";
  if (!std::filesystem::exists(status)) return true;
  const ProcessResult result = run_process({.argv = {"cat", status}});
  return result.exit_status != 0 || result.out.find(") Z ") != std::string::npos;
}

bool becomes_gone(pid_t pid) {
  const auto deadline = SteadyClock::now() + 20s;
  while (!is_gone(pid)) {
    if (SteadyClock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(ProcessTest, GivesBothOutputsAndTheStatus) {
  const ProcessResult result = run_shell("echo out; echo err >&2; exit 7");
  EXPECT_EQ(result.exit_status, 7);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_FALSE(result.timed_out);
}

TEST(ProcessTest, ArgumentsPassUntouched) {
  const ProcessResult result =
      run_process({.argv = {"printf", "%s|", "a b", "$HOME", "", "*", "\"'\\"}});
  EXPECT_EQ(result.out, "a b|$HOME||*|\"'\\|");
}

TEST(ProcessTest, ASignalGives128AndItsNumber) {
  EXPECT_EQ(run_shell("kill -TERM $$").exit_status, 128 + SIGTERM);
}

TEST(ProcessTest, LargeOutputsOnBothPipesDoNotBlock) {
  const ProcessResult result =
      run_process({.argv = {"sh", "-c", "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero"},
                   .max_output_bytes = 2'000'000});
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out.size(), 2'000'000u);
  EXPECT_EQ(result.err.size(), 2'000'000u);
}

TEST(ProcessTest, StandardInputIsEmpty) { EXPECT_EQ(run_process({.argv = {"cat"}}).out, ""); }

TEST(ProcessTest, EnvironmentIsAddedAndReplaced) {
  setenv("HOLDFAST_TEST_OLD", "old", 1);
  setenv("HOLDFAST_TEST_KEPT", "kept", 1);
  const ProcessResult result = run_process(
      {.argv = {"sh", "-c", "echo $HOLDFAST_TEST_OLD $HOLDFAST_TEST_KEPT $HOLDFAST_TEST_NEW"},
       .extra_environment = {"HOLDFAST_TEST_OLD=new", "HOLDFAST_TEST_NEW=x=y"}});
  EXPECT_EQ(result.out, "new kept x=y\n");
}

TEST(ProcessTest, RunsInTheWorkingDirectory) {
  EXPECT_EQ(run_process({.argv = {"pwd"}, .working_directory = "/usr"}).out, "/usr\n");
  expect_error(ErrorKind::kFailed, "in /nowhere",
               [] { run_process({.argv = {"pwd"}, .working_directory = "/nowhere"}); });
}

TEST(ProcessTest, AProgramThatIsNotThereIsAnError) {
  expect_error(ErrorKind::kFailed, "holdfast-no-such-program",
               [] { run_process({.argv = {"holdfast-no-such-program"}}); });
  expect_error(ErrorKind::kFailed, "/no/such/program",
               [] { run_process({.argv = {"/no/such/program"}}); });
  expect_error(ErrorKind::kPermission, "/etc/passwd",
               [] { run_process({.argv = {"/etc/passwd"}}); });
}

TEST(ProcessTest, ATimeoutKillsTheWholeGroup) {
  const auto before = SteadyClock::now();
  const ProcessResult result = run_process(
      {.argv = {"sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"}, .timeout = 300ms});
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.exit_status, 128 + SIGKILL);
  EXPECT_LT(SteadyClock::now() - before, 60s);
  ASSERT_FALSE(result.out.empty());
  EXPECT_TRUE(becomes_gone(std::stoi(result.out)));
}

TEST(ProcessTest, ATimeoutHoldsAgainstEndlessOutput) {
  EXPECT_TRUE(run_process({.argv = {"yes"}, .timeout = 200ms}).timed_out);
}

TEST(ProcessTest, AServerLeftBehindIsNotWaitedFor) {
  const auto before = SteadyClock::now();
  const ProcessResult result = run_shell("sleep 600 & echo $!");
  EXPECT_LT(SteadyClock::now() - before, 50s);
  ASSERT_EQ(result.exit_status, 0);
  const pid_t left_behind = std::stoi(result.out);
  EXPECT_FALSE(is_gone(left_behind));
  kill(left_behind, SIGKILL);
}

TEST(ProcessTest, AStopEndsItAndIsAnError) {
  std::stop_source stop;
  const std::string marker = ::testing::TempDir() + "holdfast-process-" + std::to_string(getpid());
  std::filesystem::remove(marker);
  std::jthread stopper([&] {
    while (!std::filesystem::exists(marker)) std::this_thread::yield();
    stop.request_stop();
  });
  const auto before = SteadyClock::now();
  expect_error(ErrorKind::kInterrupted, "interrupted", [&] {
    run_process({.argv = {"sh", "-c", "touch " + marker + "; exec sleep 600"}}, stop.get_token());
  });
  EXPECT_LT(SteadyClock::now() - before, 60s);
  std::filesystem::remove(marker);
  expect_error(ErrorKind::kInterrupted, "interrupted",
               [&] { run_process({.argv = {"true"}}, stop.get_token()); });
}

TEST(ProcessTest, AStopKillsWhatDoesNotListen) {
  std::stop_source stop;
  const std::string marker = ::testing::TempDir() + "holdfast-stubborn-" + std::to_string(getpid());
  std::filesystem::remove(marker);
  std::jthread stopper([&] {
    while (!std::filesystem::exists(marker)) std::this_thread::yield();
    stop.request_stop();
  });
  const auto before = SteadyClock::now();
  expect_error(ErrorKind::kInterrupted, "interrupted", [&] {
    run_process({.argv = {"sh", "-c", "trap '' TERM; touch " + marker + "; sleep 600; sleep 600"}},
                stop.get_token());
  });
  EXPECT_LT(SteadyClock::now() - before, 60s);
  std::filesystem::remove(marker);
}

TEST(ProcessTest, SignalsAreNotInheritedIgnoredOrBlocked) {
  const auto old_handler = signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  sigset_t old_mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &old_mask);
  const ProcessResult result =
      run_process({.argv = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}});
  pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  signal(SIGPIPE, old_handler);
  EXPECT_EQ(result.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(ProcessTest, DescriptorsAreNotInherited) {
  const int leaked = dup(STDIN_FILENO);  // not close-on-exec
  const ProcessResult result = run_process({.argv = {"ls", "/proc/self/fd"}});
  close(leaked);
  EXPECT_EQ(result.out, "0\n1\n2\n3\n");  // 3 is ls's own, the directory
}

TEST(ProcessTest, RunsAsAnotherUserWithItsGroups) {
  if (geteuid() != 0) GTEST_SKIP() << "SKIPPED: only root can change the user";
  const struct passwd* const entry = getpwnam("nobody");
  ASSERT_NE(entry, nullptr);
  const uid_t uid = entry->pw_uid;
  const ProcessResult result = run_process({.argv = {"sh", "-c", "id -u; id -g; id -G; echo $USER"},
                                            .working_directory = "/",
                                            .uid = uid});
  const std::string uid_text = std::to_string(uid);
  const std::string gid_text = std::to_string(entry->pw_gid);
  EXPECT_EQ(result.out, uid_text + "\n" + gid_text + "\n" + gid_text + "\nnobody\n");
  expect_error(ErrorKind::kFailed, "there is no user",
               [] { run_process({.argv = {"true"}, .uid = 3'999'999'999u}); });
}

}  // namespace
}  // namespace holdfast::base
