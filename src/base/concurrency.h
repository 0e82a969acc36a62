// The few tools by which threads meet. Nothing else in the project takes a mutex.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace holdfast::base {

// Data that can be reached only while its lock is held: `guarded.lock()->field`.
template <typename T>
class Guarded {
 public:
  template <typename... Args>
  explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}

  class Access {
   public:
    Access(std::mutex& mutex, T& value) : lock_(mutex), value_(&value) {}
    T* operator->() { return value_; }
    T& operator*() { return *value_; }

   private:
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Access lock() { return Access(mutex_, value_); }

 private:
  std::mutex mutex_;
  T value_;
};

// A first-in first-out queue of at most `capacity` items. push() waits for room, pop() for an item;
// both give up when the stop token fires. After close(), pop() drains what is left, then gives
// nullopt.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  // False if stopped or closed: the item was not taken.
  bool push(T item, std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (!room_.wait(lock, stop, [&] { return closed_ || items_.size() < capacity_; })) return false;
    if (closed_ || stop.stop_requested()) return false;
    items_.push_back(std::move(item));
    item_.notify_one();
    return true;
  }

  std::optional<T> pop(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (!item_.wait(lock, stop, [&] { return closed_ || !items_.empty(); })) return std::nullopt;
    if (items_.empty() || stop.stop_requested()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    room_.notify_one();
    return item;
  }

  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    item_.notify_all();
    room_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable_any room_;
  std::condition_variable_any item_;
  std::deque<T> items_;
  bool closed_ = false;
};

// Threads that work on one thing together: the first exception stops the others through the stop
// token and is rethrown by join(). The destructor stops and joins without throwing. A stop of the
// parent token stops the group.
class WorkerGroup {
 public:
  explicit WorkerGroup(std::stop_token parent = {});
  ~WorkerGroup();
  WorkerGroup(const WorkerGroup&) = delete;
  WorkerGroup& operator=(const WorkerGroup&) = delete;

  void start(std::function<void(std::stop_token)> body);
  std::stop_token token() const { return stop_.get_token(); }
  void request_stop() { stop_.request_stop(); }
  void join();

 private:
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> parent_;
  Guarded<std::exception_ptr> first_failure_;
  std::vector<std::jthread> threads_;
};

// Throws Error(kInterrupted) as soon as a stop is asked for.
void wait_until(std::chrono::steady_clock::time_point moment, const std::stop_token& stop);

// Throws Error(kInterrupted) if a stop was asked for.
void throw_if_stopped(const std::stop_token& stop);

}  // namespace holdfast::base
