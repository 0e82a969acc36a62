#include "stack/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace holdfast::stack {
namespace {

using enum Presence;
using Texts = std::string_view;

// Plain types.
constexpr Schema kText{.type = ValueType::kText};
constexpr Schema kTextList{.type = ValueType::kTextList};
constexpr Schema kPath{.type = ValueType::kPath};
constexpr Schema kBoolean{.type = ValueType::kBoolean};
constexpr Schema kDuration{.type = ValueType::kDuration};
constexpr Schema kShare{.type = ValueType::kShare};
constexpr Schema kSize{.type = ValueType::kSize};
constexpr Schema kWorkers{.type = ValueType::kWorkers};
constexpr Schema kSchedule{.type = ValueType::kSchedule};
constexpr Schema kSecret{.type = ValueType::kSecret};
constexpr Schema kCompression{.type = ValueType::kInteger, .least = 0, .most = 22};
constexpr Schema kSegments{.type = ValueType::kInteger, .least = 0, .most = 64};
constexpr Schema kStatus{.type = ValueType::kInteger, .least = 100, .most = 599};

constexpr Texts kKindWords[] = {"full", "incremental"};
constexpr Schema kKind{.type = ValueType::kChoice, .choices = kKindWords};
constexpr Texts kEventWords[] = {"failure", "recovery", "success"};
constexpr Schema kEvents{.type = ValueType::kChoices, .choices = kEventWords};
constexpr Texts kVerifyWords[] = {"latest", "all"};
constexpr Schema kVerify{.type = ValueType::kChoice, .choices = kVerifyWords};

// repositories
constexpr Key kEncryptionKeys[] = {{"kms_key", &kText, "the KMS key's id or alias", kRequired}};
constexpr Texts kEncryptionWords[] = {"AES256"};
constexpr Schema kEncryption{
    .type = ValueType::kChoiceOrMap, .keys = kEncryptionKeys, .choices = kEncryptionWords};
constexpr Key kCredentialKeys[] = {
    {"file", &kPath, "a file like ~/.aws/credentials"},
    {"profile", &kText, "the profile in it"},
};
constexpr Schema kCredentials{.type = ValueType::kMap, .keys = kCredentialKeys};
constexpr Schema kTags{.type = ValueType::kTexts};
constexpr Texts kVersionWords[] = {"first"};
constexpr Schema kVersions{.type = ValueType::kChoice, .choices = kVersionWords};
constexpr Key kRepositoryKeys[] = {
    {"url", &kText, "a directory, or s3://bucket/prefix", kRequired},
    {"key_file", &kPath, "the key file that opens it", kOneOf},
    {"passphrase", &kSecret, "the passphrase that opens it", kOneOf},
    {"compression", &kCompression, "zstd level, 3 by default; 0 for none"},
    {"endpoint", &kText, "s3: the server"},
    {"region", &kText, "s3: the region"},
    {"credentials", &kCredentials, "s3: by default the usual AWS chain"},
    {"path_style", &kBoolean, "s3: the bucket in the path; so by default with an endpoint"},
    {"ca_file", &kPath, "s3: certificates to trust instead of the system's"},
    {"proxy", &kText, "s3: a proxy's URL; by default as the environment says"},
    {"storage_class", &kText, "s3: for packs; the small metadata stays STANDARD"},
    {"server_side_encryption", &kEncryption, "s3: encryption by the server on top"},
    {"object_lock", &kDuration, "s3: WORM retention on every object"},
    {"tags", &kTags, "s3: of every object"},
    {"versions", &kVersions, "s3: reads what was put first, whatever came over it"},
};
constexpr Schema kRepository{.type = ValueType::kMap, .keys = kRepositoryKeys};
constexpr Schema kRepositories{.type = ValueType::kNamed, .item = &kRepository};

// components
constexpr Key kOwnRepository = {
    "repository", &kTextList,
    "where alone it is backed up to, one or several, whatever a job says"};
constexpr Key kPostgresqlKeys[] = {
    {"type", &kText, "postgresql", kRequired},
    {"connection", &kText, "libpq connection string", kRequired},
    {"dumps", &kTextList, "databases that full backups dump logically too"},
    {"checks", &kPath, "validation queries"},
    {"audit", &kShare, "how much of the unchanged data each incremental reads again (2%)"},
    kOwnRepository,
};
constexpr Key kRedisKeys[] = {
    {"type", &kText, "redis", kRequired},
    {"url", &kText, "redis://HOST:PORT", kRequired},
    kOwnRepository,
};
constexpr Key kFilesKeys[] = {
    {"type", &kText, "files", kRequired},
    {"root", &kPath, "the directory below which the files are", kRequired},
    {"include", &kTextList, "what to take, as in .gitignore; all by default"},
    {"exclude", &kTextList, "what to leave out, as in .gitignore"},
    {"after_restore", &kText, "a shell command; shown, and run only with --run-hooks"},
    kOwnRepository,
};
constexpr Key kSecretsKeys[] = {
    {"type", &kText, "secrets", kRequired},
    {"root", &kPath, "the directory below which the files are", kRequired},
    {"include", &kTextList, "what to take, as in .gitignore; all by default"},
    {"exclude", &kTextList, "what to leave out, as in .gitignore"},
    kOwnRepository,
};
constexpr Schema kPostgresql{.type = ValueType::kMap, .keys = kPostgresqlKeys};
constexpr Schema kRedis{.type = ValueType::kMap, .keys = kRedisKeys};
constexpr Schema kFiles{.type = ValueType::kMap, .keys = kFilesKeys};
constexpr Schema kSecrets{.type = ValueType::kMap, .keys = kSecretsKeys};
constexpr Key kComponentTypes[] = {
    {"postgresql", &kPostgresql, "a PostgreSQL cluster"},
    {"redis", &kRedis, "a Redis server"},
    {"files", &kFiles, "a set of files"},
    {"secrets", &kSecrets, "files that are restored 0600 and never shown"},
};
constexpr Schema kComponent{.type = ValueType::kByTypeKey, .keys = kComponentTypes};
constexpr Schema kComponents{.type = ValueType::kNamed, .item = &kComponent};

// jobs, wal, limits
constexpr Key kJobKeys[] = {
    {"at", &kSchedule, "when, as in a crontab, UTC", kRequired},
    {"backup", &kTextList, "the components, or all", kOneOf},
    {"verify", &kVerify, "latest or all", kOneOf},
    {"drill", &kText, "the plan to rehearse", kOneOf},
    {"kind", &kKind, "full or incremental"},
    {"keep", &kDuration, "how long its backups are kept"},
    {"repository", &kTextList, "where to, one or several; by default the first repository"},
};
constexpr Schema kJob{.type = ValueType::kMap, .keys = kJobKeys};
constexpr Schema kJobs{.type = ValueType::kNamed, .item = &kJob};
constexpr Key kWalKeys[] = {
    {"keep", &kDuration, "how long WAL is kept"},
    {"compression", &kCompression, "zstd level of WAL, by default 1; 0 for none"},
    {"push_ahead", &kSegments, "segments that wal push archives along in parallel (0)"},
    {"fetch_ahead", &kSegments, "segments fetched while recovery replays one (8)"},
};
constexpr Schema kWal{.type = ValueType::kMap, .keys = kWalKeys};
constexpr Key kLimitsKeys[] = {
    {"workers", &kWorkers, "threads at work; auto is one a core"},
    {"rate", &kSize, "bytes a second"},
    {"low_priority", &kBoolean, "leave processor and disk to others first"},
};
constexpr Schema kLimits{.type = ValueType::kMap, .keys = kLimitsKeys};

// notify, metrics
constexpr Key kMailKeys[] = {
    {"to", &kTextList, "who gets it", kRequired},
    {"from", &kText, "the sender"},
    {"smtp", &kText, "smtp://HOST:PORT"},
    {"on", &kEvents, "failure, recovery, success"},
};
constexpr Schema kMail{.type = ValueType::kMap, .keys = kMailKeys};
constexpr Key kWebhookKeys[] = {
    {"url", &kText, "where to post", kRequired},
    {"on", &kEvents, "failure, recovery, success"},
};
constexpr Schema kWebhook{.type = ValueType::kMap, .keys = kWebhookKeys};
constexpr Key kNotifyKeys[] = {
    {"mail", &kMail, "by mail", kOneOf},
    {"webhook", &kWebhook, "by an HTTP request", kOneOf},
};
constexpr Schema kNotifyItem{.type = ValueType::kMap, .keys = kNotifyKeys};
constexpr Schema kNotify{.type = ValueType::kList, .item = &kNotifyItem};
constexpr Key kMetricsKeys[] = {
    {"listen", &kText, "HOST:PORT for Prometheus"},
    {"textfile", &kPath, "a file for the node exporter"},
};
constexpr Schema kMetrics{.type = ValueType::kMap, .keys = kMetricsKeys};

// plans
constexpr Key kStepKeys[] = {
    {"restore", &kText, "a component", kOneOf},
    {"run", &kText, "a command", kOneOf},
    {"http", &kText, "a URL that must answer", kOneOf},
    {"confirm", &kText, "a sentence that a person confirms", kOneOf},
    {"watch", &kText, "a URL that must go on answering", kOneOf},
    {"expect", &kStatus, "http: the status, 200 by default"},
    {"within", &kDuration, "http: how long it may take to answer so"},
    {"for", &kDuration, "watch: how long"},
};
constexpr Schema kStep{.type = ValueType::kMap, .keys = kStepKeys};
constexpr Schema kSteps{.type = ValueType::kList, .item = &kStep};
constexpr Key kPlanKeys[] = {
    {"rto", &kDuration, "how long a recovery may take"},
    {"rpo", &kDuration, "how much may be lost"},
    {"steps", &kSteps, "what is done, in this order", kRequired},
};
constexpr Schema kPlan{.type = ValueType::kMap, .keys = kPlanKeys};
constexpr Schema kPlans{.type = ValueType::kNamed, .item = &kPlan};

constexpr Key kTopKeys[] = {
    {"stack", &kText, "what all this is called"},
    {"repositories", &kRepositories, "where backups live; the first is the default", kRequired},
    {"components", &kComponents, "what is backed up"},
    {"jobs", &kJobs, "what runs on a schedule, and how long its backups are kept"},
    {"wal", &kWal, "PostgreSQL's archived WAL"},
    {"limits", &kLimits, "what a run may take"},
    {"scratch", &kPath, "a directory for what is made and removed again (/var/tmp)"},
    {"notify", &kNotify, "who hears of it"},
    {"metrics", &kMetrics, "for monitoring"},
    {"plans", &kPlans, "recovery plans"},
};
constexpr Schema kTop{.type = ValueType::kMap, .keys = kTopKeys};

std::string describe(const Schema& schema) {
  switch (schema.type) {
    case ValueType::kText:
      return "text";
    case ValueType::kTextList:
      return "text or a list";
    case ValueType::kPath:
      return "path";
    case ValueType::kInteger:
      return fmt::format("{} to {}", schema.least, schema.most);
    case ValueType::kBoolean:
      return "true or false";
    case ValueType::kChoice:
      return fmt::format("{}", fmt::join(schema.choices, " or "));
    case ValueType::kChoices:
      return fmt::format("list of {}", fmt::join(schema.choices, ", "));
    case ValueType::kDuration:
      return "duration, such as 7d";
    case ValueType::kSize:
      return "size, such as 200MiB";
    case ValueType::kShare:
      return "share, such as 2%";
    case ValueType::kWorkers:
      return "auto or a number";
    case ValueType::kSchedule:
      return "five fields";
    case ValueType::kSecret:
      return "{file: PATH} or {env: NAME}";
    case ValueType::kChoiceOrMap:
      return fmt::format("{}, or as follows", fmt::join(schema.choices, " or "));
    case ValueType::kTexts:
      return "{NAME: text}";
    case ValueType::kList:
      return "list";
    case ValueType::kMap:
    case ValueType::kNamed:
    case ValueType::kByTypeKey:
      return {};
  }
  return {};
}

void append_keys(std::string& out, std::span<const Key> keys, std::size_t indent);

void append_nested(std::string& out, const Schema& schema, std::size_t indent) {
  switch (schema.type) {
    case ValueType::kMap:
    case ValueType::kChoiceOrMap:
      append_keys(out, schema.keys, indent);
      break;
    case ValueType::kList:
      append_nested(out, *schema.item, indent);
      break;
    case ValueType::kNamed:
      out += fmt::format("{:{}}NAME:\n", "", indent);
      append_nested(out, *schema.item, indent + 2);
      break;
    case ValueType::kByTypeKey:
      for (const Key& kind : schema.keys) {
        out += fmt::format("{:{}}# {}\n", "", indent, kind.doc);
        append_nested(out, *kind.schema, indent);
      }
      break;
    default:
      break;
  }
}

void append_keys(std::string& out, std::span<const Key> keys, std::size_t indent) {
  for (const Key& key : keys) {
    const std::string type = describe(*key.schema);
    const std::string name = fmt::format("{:{}}{}:", "", indent, key.name);
    out += fmt::format("{:<28} # {}{}{}{}\n", name, key.doc, type.empty() ? "" : " (", type,
                       type.empty() ? "" : ")");
    append_nested(out, *key.schema, indent + 2);
  }
}

}  // namespace

const Schema& configuration_schema() { return kTop; }

std::string configuration_reference() {
  std::string out;
  append_keys(out, kTop.keys, 0);
  return out;
}

}  // namespace holdfast::stack
