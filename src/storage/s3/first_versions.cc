#include "storage/s3/first_versions.h"

namespace holdfast::storage::s3 {

// The versions of a key come the newest first, and may go on on the next page.
std::map<std::string, FirstVersions::First> FirstVersions::read(const std::string& keys) {
  std::map<std::string, First> found;
  ListPage page;
  do {
    Request request{.method = Method::kGet,
                    .query = {{"versions", ""}, {"prefix", keys}, {"encoding-type", "url"}}};
    if (!page.next.empty()) {
      request.query.emplace_back("key-marker", page.next);
      request.query.emplace_back("version-id-marker", page.next_version);
    }
    page = read_versions(client_.send(request).http.body);
    for (ListedObject& object : page.objects) {
      if (object.is_marker) continue;
      std::string key = object.info.name;
      found.insert_or_assign(std::move(key), First{std::move(object.info), object.version});
    }
  } while (!page.next.empty());
  return found;
}

std::vector<ObjectInfo> FirstVersions::list(const std::string& keys) {
  auto all = all_.lock();
  if (!*all) *all = read(prefix_);
  std::vector<ObjectInfo> objects;
  for (auto at = (*all)->lower_bound(keys); at != (*all)->end() && at->first.starts_with(keys);
       ++at) {
    objects.push_back(at->second.info);
  }
  return objects;
}

std::optional<std::string> FirstVersions::find(const std::string& key) {
  auto all = all_.lock();
  if (!*all) *all = read(prefix_);
  const auto found = (*all)->find(key);
  if (found == (*all)->end()) return std::nullopt;
  return found->second.version;
}

}  // namespace holdfast::storage::s3
