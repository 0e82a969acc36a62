// libpq, loaded when it is first needed. Linked in the usual way it costs every start of the
// program 5 ms: it brings Kerberos, LDAP and two TLS libraries along. archive_command starts the
// program for every segment, and needs no connection.
#pragma once

#include <libpq-fe.h>

namespace holdfast::postgres {

// The functions that are called here, by their names without PQ.
struct Libpq {
  decltype(&::PQconnectdbParams) connectdbParams;
  decltype(&::PQfinish) finish;
  decltype(&::PQstatus) status;
  decltype(&::PQerrorMessage) errorMessage;
  decltype(&::PQsocket) socket;
  decltype(&::PQhost) host;
  decltype(&::PQserverVersion) serverVersion;
  decltype(&::PQsendQueryParams) sendQueryParams;
  decltype(&::PQconsumeInput) consumeInput;
  decltype(&::PQisBusy) isBusy;
  decltype(&::PQgetResult) getResult;
  decltype(&::PQgetCancel) getCancel;
  decltype(&::PQcancel) cancel;
  decltype(&::PQfreeCancel) freeCancel;
  decltype(&::PQclear) clear;
  decltype(&::PQresultStatus) resultStatus;
  decltype(&::PQntuples) ntuples;
  decltype(&::PQnfields) nfields;
  decltype(&::PQgetisnull) getisnull;
  decltype(&::PQgetvalue) getvalue;
  decltype(&::PQgetlength) getlength;
  decltype(&::PQconninfoParse) conninfoParse;
  decltype(&::PQconninfoFree) conninfoFree;
  decltype(&::PQfreemem) freemem;
};

// The first call loads it. kFailed, saying what is missing, where that is not possible.
const Libpq& libpq();

}  // namespace holdfast::postgres
