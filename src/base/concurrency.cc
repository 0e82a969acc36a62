#include "base/concurrency.h"

#include <system_error>

#include "base/error.h"

namespace holdfast::base {

WorkerGroup::WorkerGroup(std::stop_token parent)
    : parent_(std::move(parent), [this] { stop_.request_stop(); }) {}

WorkerGroup::~WorkerGroup() {
  stop_.request_stop();
  threads_.clear();  // joins
}

void WorkerGroup::start(std::function<void(std::stop_token)> body) {
  auto guarded_body = [this, body = std::move(body)] {
    try {
      body(stop_.get_token());
    } catch (...) {
      {
        // Kept before the stop is asked for: what the others throw because of it comes second.
        auto failure = first_failure_.lock();
        if (!*failure) *failure = std::current_exception();
      }
      stop_.request_stop();
    }
  };
  try {
    threads_.emplace_back(std::move(guarded_body));
  } catch (const std::system_error& error) {
    throw system_error(error.code().value(), "cannot start a thread");
  }
}

void WorkerGroup::join() {
  threads_.clear();
  if (std::exception_ptr failure = std::exchange(*first_failure_.lock(), nullptr)) {
    std::rethrow_exception(std::move(failure));
  }
}

void wait_until(std::chrono::steady_clock::time_point moment, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any nothing;
  std::unique_lock lock(mutex);
  nothing.wait_until(lock, stop, moment, [&] { return stop.stop_requested(); });
  throw_if_stopped(stop);
}

void throw_if_stopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Error(ErrorKind::kInterrupted, "interrupted");
}

}  // namespace holdfast::base
