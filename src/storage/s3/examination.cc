#include "storage/s3/examination.h"

#include <fmt/format.h>

namespace holdfast::storage::s3 {
namespace {

using Verdict = StoreFinding::Verdict;

constexpr base::Duration kNotableSkew = std::chrono::minutes(1);

class Examination {
 public:
  Examination(Client& client, Abilities& abilities, const Options& options,
              const std::string& prefix)
      : client_(client), abilities_(abilities), options_(options), prefix_(prefix) {}

  std::vector<StoreFinding> run() {
    const bool reached = look("listing", [&] {
      client_.send({.method = Method::kGet,
                    .query = {{"list-type", "2"}, {"prefix", prefix_}, {"max-keys", "1"}}});
      good("listing",
           fmt::format("{} answers, with {}", client_.host(), client_.credentials_description()));
    });
    if (!reached) return std::move(findings_);
    look("clock", [&] { examine_clock(); });
    look("writing", [&] { examine_writing(); });
    look("versions", [&] { examine_versions(); });
    if (options_.object_lock) look("object lock", [&] { examine_object_lock(); });
    return std::move(findings_);
  }

 private:
  template <typename Body>
  bool look(const std::string& what, Body body) {
    try {
      body();
      return true;
    } catch (const base::Error& error) {
      findings_.push_back({Verdict::kBad, what, error.what(), error.hint()});
      return false;
    }
  }

  void good(const std::string& what, std::string detail) {
    findings_.push_back({Verdict::kGood, what, std::move(detail), {}});
  }

  void examine_clock() {
    const base::Duration skew = client_.clock_skew();
    if (std::chrono::abs(skew) < kNotableSkew) return good("clock", "agrees with the store's");
    findings_.push_back({Verdict::kAttention, "clock",
                         fmt::format("this machine's clock is {} {} the store's",
                                     base::format_duration(std::chrono::abs(skew)),
                                     skew < base::Duration(0) ? "ahead of" : "behind"),
                         "set it right, by NTP say: requests that are 15 minutes off are refused"});
  }

  void examine_writing() {
    switch (abilities_.conditional()) {
      case Conditional::kHonoured:
        good("writing", fmt::format("what exists cannot be overwritten (If-None-Match); uploads "
                                    "are checked by {}",
                                    checksum_name()));
        return;
      case Conditional::kIgnored:
      case Conditional::kRefused:
      case Conditional::kUnknown:
        break;
    }
    findings_.push_back(
        {Verdict::kAttention, "writing",
         "the store knows no If-None-Match: objects are created under claims, which takes more "
         "requests, and does not protect from other programs",
         "use a newer version of the store where there is one"});
  }

  std::string_view checksum_name() const {
    return abilities_.checksum() == ChecksumKind::kSha256 ? "SHA-256" : "MD5";
  }

  void examine_versions() {
    const Answer answer =
        client_.send({.method = Method::kGet, .query = {{"versioning", ""}}}, {403, 404, 501});
    if (!answer.http.is_success()) {
      return good("versions", "these credentials may not ask whether the bucket keeps versions");
    }
    const bool kept = read_element(answer.http.body, "Status") == "Enabled";
    good("versions", kept ? "the bucket keeps versions of what is deleted: give it a lifecycle "
                            "rule for noncurrent versions"
                          : "the bucket keeps no versions of what is deleted");
  }

  void examine_object_lock() {
    const Answer answer =
        client_.send({.method = Method::kGet, .query = {{"object-lock", ""}}}, {403, 404, 501});
    if (answer.status() == 403) {
      return good("object lock", "these credentials may not ask whether the bucket can lock");
    }
    if (read_element(answer.http.body, "ObjectLockEnabled") == "Enabled") {
      return good("object lock", fmt::format("every object is locked for at least {}",
                                             base::format_duration(*options_.object_lock)));
    }
    findings_.push_back({Verdict::kBad, "object lock",
                         "object_lock is configured, and the bucket was made without object lock",
                         "make a bucket with object lock, or remove object_lock"});
  }

  Client& client_;
  Abilities& abilities_;
  const Options& options_;
  const std::string& prefix_;
  std::vector<StoreFinding> findings_;
};

}  // namespace

std::vector<StoreFinding> examine(Client& client, Abilities& abilities, const Options& options,
                                  const std::string& prefix) {
  return Examination(client, abilities, options, prefix).run();
}

}  // namespace holdfast::storage::s3
