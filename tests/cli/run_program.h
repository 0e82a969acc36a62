// Runs the program in this process and keeps what it prints.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/run.h"
#include "storage/temporary_directory.h"

namespace holdfast::cli {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;

  // The one document on standard output; fails the test (throws) where there is none or another.
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

// A stream into memory.
class Capture {
 public:
  Capture() : stream_(open_memstream(&text_, &size_)) {}
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    std::fclose(stream_);
    std::free(text_);
  }
  std::FILE* stream() { return stream_; }
  std::string text() {
    std::fflush(stream_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* stream_;
};

inline Outcome run_words(const std::vector<std::string>& words, std::stop_token stop = {}) {
  Capture out;
  Capture err;
  Outcome outcome;
  outcome.status = run(words, {out.stream(), err.stream(), false}, std::move(stop));
  outcome.out = out.text();
  outcome.err = err.text();
  return outcome;
}

// A configuration with a repository in a directory of its own, and no server behind its component.
class Stack {
 public:
  Stack() { write(""); }

  std::filesystem::path path() const { return directory_.path(); }
  std::string file(const std::string& name) const { return (path() / name).string(); }

  void write(const std::string& more) const {
    std::ofstream(path() / "holdfast.yaml") << "repositories:\n"
                                               "  main: {url: repo, key_file: holdfast.key}\n"
                                               "components:\n"
                                               "  database:\n"
                                               "    type: postgresql\n"
                                               "    connection: host=/nowhere connect_timeout=1\n"
                                            << more;
  }

  Outcome run(std::vector<std::string> words) const {
    words.insert(words.begin(), {"-c", file("holdfast.yaml")});
    return run_words(words);
  }

 private:
  storage::TemporaryDirectory directory_;
};

}  // namespace holdfast::cli
