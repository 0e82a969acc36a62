#include "storage/s3/answers.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <cstring>
#include <pugixml.hpp>

#include "base/error.h"
#include "storage/s3/signature.h"

namespace holdfast::storage::s3 {
namespace {

[[noreturn]] void not_understood(std::string_view problem) {
  throw base::Error(base::ErrorKind::kFailed,
                    fmt::format("the store's answer cannot be understood: {}", problem),
                    "see that the endpoint is an S3 server");
}

// pugixml reads no DTD and resolves no entities but XML's own five.
pugi::xml_node parse(pugi::xml_document& document, base::ByteView body, const char* root) {
  const auto result = document.load_buffer(body.data(), body.size());
  if (!result) not_understood(result.description());
  const pugi::xml_node node = document.document_element();
  if (std::strcmp(node.name(), root) != 0) {
    not_understood(fmt::format("<{}> where <{}> was expected", node.name(), root));
  }
  return node;
}

bool is_truncated(const pugi::xml_node& root) {
  return std::strcmp(root.child_value("IsTruncated"), "true") == 0;
}

std::string decoded(const pugi::xml_node& root, std::string_view text) {
  const bool encoded = std::strcmp(root.child_value("EncodingType"), "url") == 0;
  return encoded ? url_decoded(text) : std::string(text);
}

base::Time moment(const char* text) {
  const auto time = parse_moment(text);
  if (!time) not_understood(fmt::format("\"{}\" is no time", text));
  return *time;
}

std::uint64_t number(const char* text) {
  std::uint64_t value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end || stop == text) {
    not_understood(fmt::format("\"{}\" is no number", text));
  }
  return value;
}

ListedObject listed(const pugi::xml_node& root, const pugi::xml_node& entry) {
  ListedObject object;
  object.is_marker = std::strcmp(entry.name(), "DeleteMarker") == 0;
  object.info.name = decoded(root, entry.child_value("Key"));
  object.info.modified = moment(entry.child_value("LastModified"));
  if (!object.is_marker) {
    object.info.size_bytes = number(entry.child_value("Size"));
    object.info.storage_class = entry.child_value("StorageClass");
    if (object.info.storage_class == "STANDARD") object.info.storage_class.clear();
  }
  object.version = entry.child_value("VersionId");
  return object;
}

}  // namespace

ErrorAnswer read_error(base::ByteView body) {
  pugi::xml_document document;
  if (body.empty() || !document.load_buffer(body.data(), body.size())) return {};
  const pugi::xml_node root = document.document_element();
  if (std::strcmp(root.name(), "Error") != 0) return {};
  return {root.child_value("Code"), root.child_value("Message"), root.child_value("Region")};
}

ListPage read_list(base::ByteView body) {
  pugi::xml_document document;
  const pugi::xml_node root = parse(document, body, "ListBucketResult");
  ListPage page;
  for (const pugi::xml_node& entry : root.children("Contents")) {
    page.objects.push_back(listed(root, entry));
  }
  if (!is_truncated(root)) return page;
  page.next = root.child_value("NextContinuationToken");
  if (page.next.empty()) not_understood("a listing breaks off");
  return page;
}

ListPage read_versions(base::ByteView body) {
  pugi::xml_document document;
  const pugi::xml_node root = parse(document, body, "ListVersionsResult");
  ListPage page;
  for (const pugi::xml_node& entry : root.children()) {
    const std::string_view name = entry.name();
    if (name == "Version" || name == "DeleteMarker") page.objects.push_back(listed(root, entry));
  }
  if (!is_truncated(root)) return page;
  page.next = decoded(root, root.child_value("NextKeyMarker"));
  page.next_version = root.child_value("NextVersionIdMarker");
  if (page.next.empty()) not_understood("a listing breaks off");
  return page;
}

UploadsPage read_uploads(base::ByteView body) {
  pugi::xml_document document;
  const pugi::xml_node root = parse(document, body, "ListMultipartUploadsResult");
  UploadsPage page;
  for (const pugi::xml_node& entry : root.children("Upload")) {
    page.uploads.push_back({decoded(root, entry.child_value("Key")), entry.child_value("UploadId"),
                            moment(entry.child_value("Initiated"))});
  }
  if (!is_truncated(root)) return page;
  page.next_key = decoded(root, root.child_value("NextKeyMarker"));
  page.next_id = root.child_value("NextUploadIdMarker");
  if (page.next_key.empty()) not_understood("a listing breaks off");
  return page;
}

std::string read_upload_id(base::ByteView body) {
  pugi::xml_document document;
  const pugi::xml_node root = parse(document, body, "InitiateMultipartUploadResult");
  std::string id = root.child_value("UploadId");
  if (id.empty()) not_understood("an upload without an id");
  return id;
}

std::vector<DeleteFailure> read_delete_failures(base::ByteView body) {
  pugi::xml_document document;
  const pugi::xml_node root = parse(document, body, "DeleteResult");
  std::vector<DeleteFailure> failures;
  for (const pugi::xml_node& entry : root.children("Error")) {
    failures.push_back(
        {entry.child_value("Key"), entry.child_value("Code"), entry.child_value("Message")});
  }
  return failures;
}

std::string read_element(base::ByteView body, const char* name) {
  pugi::xml_document document;
  if (body.empty() || !document.load_buffer(body.data(), body.size())) return {};
  const pugi::xml_node found = document.document_element().find_node(
      [name](const pugi::xml_node& node) { return std::strcmp(node.name(), name) == 0; });
  return found.child_value();
}

std::optional<base::Time> parse_moment(std::string_view text) {
  std::string whole(text);
  const std::size_t fraction = whole.find('.');
  if (fraction != std::string::npos) {
    whole.erase(fraction, whole.find_first_not_of("0123456789", fraction + 1) - fraction);
  }
  return base::parse_time(whole, base::Time());
}

std::optional<base::Time> parse_http_date(std::string_view text) {
  const time_t seconds = curl_getdate(std::string(text).c_str(), nullptr);
  if (seconds < 0) return std::nullopt;
  return base::Time(std::chrono::seconds(seconds));
}

}  // namespace holdfast::storage::s3
