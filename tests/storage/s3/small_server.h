// An HTTP server of one test: answers each request as the test says, byte for byte.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/concurrency.h"
#include "base/file.h"

namespace holdfast::storage::s3 {

inline std::string http_answer(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Answer\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

class SmallServer {
 public:
  // From the whole request to the whole answer; an empty one closes the connection.
  using Handler = std::function<std::string(const std::string& request)>;

  explicit SmallServer(Handler handler)
      : handler_(std::move(handler)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.get(), any, size) != 0 || ::listen(listener_.get(), 64) != 0 ||
        ::getsockname(listener_.get(), any, &size) != 0) {
      ADD_FAILURE() << "no server: " << std::strerror(errno);
    }
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }

  const std::string& url() const { return url_; }
  std::vector<std::string> requests() { return *requests_.lock(); }
  std::size_t count() { return requests_.lock()->size(); }

 private:
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd event{listener_.get(), POLLIN, 0};
      constexpr int kLookForStopMs = 20;
      if (::poll(&event, 1, kLookForStopMs) <= 0) continue;
      const base::UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const std::string request = receive(client.get());
      requests_.lock()->push_back(request);
      const std::string answer = handler_(request);
      for (std::size_t sent = 0; sent < answer.size();) {
        const ssize_t now =
            ::send(client.get(), answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
        if (now <= 0) break;
        sent += static_cast<std::size_t>(now);
      }
    }
  }

  static std::string receive(int fd) {
    std::string request;
    char buffer[4096];
    for (;;) {
      const std::size_t end = request.find("\r\n\r\n");
      if (end != std::string::npos && request.size() >= end + 4 + body_size(request)) break;
      const ssize_t size = ::recv(fd, buffer, sizeof buffer, 0);
      if (size <= 0) break;
      request.append(buffer, static_cast<std::size_t>(size));
    }
    return request;
  }
  static std::size_t body_size(const std::string& request) {
    constexpr std::string_view kName = "Content-Length: ";
    const std::size_t at = request.find(kName);
    return at == std::string::npos ? 0 : std::stoul(request.substr(at + kName.size()));
  }

  const Handler handler_;
  base::UniqueFd listener_;
  std::string url_;
  base::Guarded<std::vector<std::string>> requests_;
  std::jthread thread_;  // the last: it ends before what it uses
};

}  // namespace holdfast::storage::s3
