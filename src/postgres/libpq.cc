#include "postgres/libpq.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::postgres {
namespace {

constexpr const char* kLibrary = "libpq.so.5";

base::Error cannot_load() {
  const char* problem = ::dlerror();
  return base::Error(base::ErrorKind::kFailed,
                     fmt::format("cannot load PostgreSQL's client library: {}",
                                 problem == nullptr ? kLibrary : problem),
                     fmt::format("install {}: Debian's package libpq5, Red Hat's libpq or "
                                 "postgresql-libs",
                                 kLibrary));
}

template <typename Function>
void resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr) throw cannot_load();
}

Libpq load() {
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw cannot_load();
  Libpq pq{};
  resolve(library, "PQconnectdbParams", pq.connectdbParams);
  resolve(library, "PQfinish", pq.finish);
  resolve(library, "PQstatus", pq.status);
  resolve(library, "PQerrorMessage", pq.errorMessage);
  resolve(library, "PQsocket", pq.socket);
  resolve(library, "PQhost", pq.host);
  resolve(library, "PQserverVersion", pq.serverVersion);
  resolve(library, "PQsendQueryParams", pq.sendQueryParams);
  resolve(library, "PQconsumeInput", pq.consumeInput);
  resolve(library, "PQisBusy", pq.isBusy);
  resolve(library, "PQgetResult", pq.getResult);
  resolve(library, "PQgetCancel", pq.getCancel);
  resolve(library, "PQcancel", pq.cancel);
  resolve(library, "PQfreeCancel", pq.freeCancel);
  resolve(library, "PQclear", pq.clear);
  resolve(library, "PQresultStatus", pq.resultStatus);
  resolve(library, "PQntuples", pq.ntuples);
  resolve(library, "PQnfields", pq.nfields);
  resolve(library, "PQgetisnull", pq.getisnull);
  resolve(library, "PQgetvalue", pq.getvalue);
  resolve(library, "PQgetlength", pq.getlength);
  resolve(library, "PQconninfoParse", pq.conninfoParse);
  resolve(library, "PQconninfoFree", pq.conninfoFree);
  resolve(library, "PQfreemem", pq.freemem);
  return pq;
}

}  // namespace

// Kept to the end of the process, and so a static: a library is loaded once for a process whoever
// asks, and this one cannot be unloaded safely (those that it brings register exit handlers).
const Libpq& libpq() {
  static const Libpq pq = load();
  return pq;
}

}  // namespace holdfast::postgres
