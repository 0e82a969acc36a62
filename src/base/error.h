// The one exception family. An Error ends an operation; what is expected ("not there", "exists
// already") is a value, and damage that a verification finds is data in its report.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace holdfast::base {

enum class ErrorKind {
  kFailed,       // anything without a better name
  kUsage,        // wrong arguments
  kConfig,       // wrong configuration
  kNotFound,     // no such backup, moment or WAL segment
  kDamaged,      // an object does not authenticate, or is missing where another needs it
  kLocked,       // another run is at work
  kRefused,      // would overwrite, or the credential has not the right
  kKey,          // the key file or passphrase does not open the repository
  kPermission,   // the operating system refuses
  kNoSpace,      // the disk is full
  kUnavailable,  // the other side does not answer; later may help
  kTimeout,      // a deadline passed
  kInterrupted,  // the user or the system asked to stop
};

struct ErrorKindInfo {
  ErrorKind kind;
  std::string_view code;  // as in the JSON error object
  int exit_status;
  bool retry_may_help;
};

// The table from which exit statuses and JSON codes follow.
const ErrorKindInfo& info(ErrorKind kind);

// A sentence for the user: what failed, on which object, why, and (hint) what to do next. Never
// holds a secret.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  int system_errno() const { return errno_; }  // 0 where there is none
  const std::string& hint() const { return hint_; }
  // The contexts from the outermost in, then the message: "while backing up database: …".
  const char* what() const noexcept override { return text_.c_str(); }

  void add_context(std::string_view context) { text_ = std::string(context) + ": " + text_; }
  void set_hint(std::string hint) { hint_ = std::move(hint); }
  void set_errno(int value) { errno_ = value; }

 private:
  ErrorKind kind_;
  std::string text_;
  std::string hint_;
  int errno_ = 0;
};

// For a failed system call: maps ENOSPC, EDQUOT, EACCES, EPERM, EROFS, EINTR and ETIMEDOUT to their
// kinds, all else to kFailed, and ends the sentence with the system's own words.
Error system_error(int errno_value, std::string_view what_failed);

// Runs `body`; an Error that leaves it gets the context. `context` is text or a callable giving it,
// so that the text is made only when it is needed.
template <typename Context, typename Body>
decltype(auto) with_context(Context&& context, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    if constexpr (std::is_invocable_v<Context>) {
      error.add_context(context());
    } else {
      error.add_context(context);
    }
    throw;
  }
}

}  // namespace holdfast::base
