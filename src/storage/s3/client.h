// Requests to one bucket: signed, tried again where that may help, and failures turned into errors
// that say what to do. Internal to the S3 driver.
#pragma once

#include <atomic>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/address.h"
#include "storage/s3/answers.h"
#include "storage/s3/http.h"
#include "storage/s3/pace.h"
#include "storage/s3/signature.h"

namespace holdfast::storage::s3 {

struct Request {
  Method method = Method::kGet;
  std::string key = {};  // with the prefix; empty: the bucket itself
  Query query = {};
  Headers headers = {};
  base::ByteView body = {};
  std::string body_sha256 = {};  // hex; computed where it is empty
  base::MutableByteView into = {};
  std::size_t max_body_bytes = std::size_t{16} * 1024 * 1024;
};

struct Answer {
  HttpAnswer http;
  ErrorAnswer error;     // of an answer that is no success
  bool retried = false;  // earlier attempts failed, and may have been carried out

  int status() const { return http.status; }
};

// Thread-safe.
class Client {
 public:
  Client(const Options& options, std::unique_ptr<CredentialSource> credentials,
         const base::Clock& clock, crypto::Random& random);

  // A success, or an answer with one of the `accepted` statuses. Everything else is an Error.
  Answer send(const Request& request, std::initializer_list<int> accepted = {});
  // Where other answers may be accepted by their code too: "NotImplemented".
  using Accepts = std::function<bool(int status, const ErrorAnswer& error)>;
  Answer send(const Request& request, const Accepts& accepts);

  // What is under way is not tried again: nobody waits for it any more.
  void close() { closing_ = true; }

  // By how much the store's clock is ahead of this machine's, by its last answer.
  base::Duration clock_skew() const { return base::Duration(skew_.load()); }
  const std::string& region() const { return address_.region; }
  const std::string& host() const { return address_.host; }
  std::string credentials_description() const { return credentials_->describe(); }
  // The error for an answer that send() accepted, and that is one after all.
  base::Error error_of(const Request& request, const Answer& answer) const;

 private:
  struct Outcome;
  // What one send() has tried to mend already.
  struct Mended {
    int attempts = 0;
    bool clock = false;
    bool credentials = false;
  };
  Outcome try_once(const Request& request, const std::string& body_sha256, const Accepts& accepts,
                   Mended& mended, Answer& answer);
  HttpAnswer attempt(const Request& request, const std::string& body_sha256,
                     const Credentials& credentials);
  void wait(Pace::Milliseconds time) const;
  void note_clock(const HttpAnswer& answer);
  bool may_help_to_repeat(const Answer& answer, const Credentials& credentials, Mended& mended);
  base::Error access_error(const ErrorAnswer& error, const std::string& what) const;

  const Options options_;
  const Address address_;
  const std::unique_ptr<CredentialSource> credentials_;
  const base::Clock& clock_;
  Http http_;
  Pace pace_;
  std::atomic<bool> closing_ = false;
  std::atomic<bool> answered_ = false;  // the store has answered before
  std::atomic<std::int64_t> skew_ = 0;  // microseconds
  std::atomic<bool> correct_skew_ = false;
};

}  // namespace holdfast::storage::s3
