#include "stack/proposal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "stack/component.h"

namespace holdfast::stack {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOwnFile = "holdfast.yaml";  // in the service's directory

// A double-quoted YAML text that the configuration's reader takes as it is.
std::string yaml_text(std::string_view text) {
  std::string result = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < ' ') {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      continue;
    }
    if (text.substr(i).starts_with("${")) result += '$';
    result += c;
  }
  return result + "\"";
}

std::string list_of(const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  for (const std::string& text : texts) items.push_back(yaml_text(text));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

// What may stand in a comment: one line.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return text;
}

bool is_primary_at_work(const FoundPostgres& found) {
  return found.cluster.runs && !(found.asked.info && found.asked.info->in_recovery);
}

bool can_back_up(const std::string& type) {
  return find_component({.name = type, .type = type}) != nullptr;
}

class Writer {
 public:
  Writer(const Machine& machine, const ProposalPaths& paths) : machine_(machine), paths_(paths) {}

  std::string write() {
    head();
    repositories();
    components();
    jobs();
    return std::move(text_);
  }

 private:
  template <typename... Parts>
  void add(fmt::format_string<Parts...> format, Parts&&... parts) {
    text_ += fmt::format(format, std::forward<Parts>(parts)...);
  }

  void head() {
    const std::string name = machine_.directory.filename().string();
    add("# What Holdfast backs up, where to, and how long it is kept: from what `holdfast setup`\n"
        "# found on this machine. Read it through and change what does not fit; `holdfast check`\n"
        "# then tries all of it. `holdfast help configuration` shows every key there is.\n"
        "# A path that is not absolute counts from this file's directory; ${{NAME}} takes an\n"
        "# environment variable. No secret needs to stand in here.\n\n"
        "stack: {}  # what all this is called\n\n",
        yaml_text(name.empty() ? "service" : name));
  }

  void repositories() {
    add("# Where backups live: on another disk than the data, best on another machine's. "
        "Everything\n"
        "# is encrypted before it gets there. The first one is the default.\n"
        "repositories:\n"
        "  main:\n"
        "    url: {}\n"
        "    # Made by `holdfast init`. Keep a copy elsewhere (`holdfast key export` prints one):\n"
        "    # without it nobody can read the backups.\n"
        "    key_file: {}\n"
        "    compression: 3  # zstd's level; 0 for none\n"
        "  # A second place, in any store that speaks S3:\n"
        "  # offsite:\n"
        "  #   url: s3://BUCKET/PREFIX\n"
        "  #   endpoint: https://s3.eu-central-1.amazonaws.com\n"
        "  #   region: eu-central-1\n"
        "  #   key_file: {}\n\n",
        yaml_text(paths_.repository.string()), yaml_text(paths_.key_file.string()),
        yaml_text(paths_.key_file.string()));
  }

  void components() {
    const auto names = postgres_names(machine_);
    const bool any =
        std::any_of(names.begin(), names.end(), [](const auto& name) { return !name.empty(); }) ||
        !machine_.config.empty() || !machine_.logs.empty() || !machine_.secrets.empty() ||
        (!machine_.redis.empty() && can_back_up("redis"));
    add("# What is backed up. The names are yours.\n"
        "components:{}\n",
        any ? "" : " {}  # write your own below, without the braces");
    for (std::size_t i = 0; i < names.size(); ++i) cluster(machine_.postgres[i], names[i]);
    if (names.empty()) {
      add("  # A PostgreSQL cluster: everything in it, to any moment.\n"
          "  # database:\n"
          "  #   type: postgresql\n"
          "  #   connection: \"host=/var/run/postgresql user=postgres dbname=postgres\"\n");
    }
    redis();
    config();
    logs();
    secrets();
    add("\n");
  }

  void cluster(const FoundPostgres& found, const std::string& name) {
    const auto& info = found.asked.info;
    const std::string where = one_line(found.cluster.data_directory.string());
    if (found.cluster.runs && name.empty()) {
      add("  # The server in {} is a standby: its primary is what is backed up.\n", where);
      return;
    }
    if (name.empty()) {
      add("  # PostgreSQL {} in {} is not running: start it and run `holdfast setup --print` "
          "again.\n",
          found.cluster.debian_name, where);
      return;
    }
    add("  # A PostgreSQL cluster{}{}: everything in it, to any moment.\n"
        "  {}:\n"
        "    type: postgresql\n"
        "    connection: {}\n",
        info ? ", version " + info->version : "", where.empty() ? "" : ", in " + where, name,
        yaml_text(found.asked.connection));
    if (!info) {
      add("    # It could not be asked ({}): see whether this is right.\n",
          one_line(found.asked.problem));
      return;
    }
    std::vector<std::string> databases;
    for (const auto& [oid, database] : info->databases) {
      if (!database.starts_with("template") && database != "postgres")
        databases.push_back(database);
    }
    if (databases.empty()) return;
    add("    # dumps: {}  # databases that full backups dump too, for pg_restore\n",
        list_of(databases));
  }

  void redis() {
    const std::string_view mark = can_back_up("redis") ? "" : "# ";
    std::string name = "cache";
    for (const FoundRedis& found : machine_.redis) {
      add("  # A Redis server{}{}{}.{}\n"
          "  {}{}:\n"
          "  {}  type: redis\n"
          "  {}  url: {}\n",
          found.config_file.empty() ? "" : ", configured in " + found.config_file,
          found.runs ? "" : ", not running", found.has_password ? ", with a password" : "",
          mark.empty() ? "" : " A later version of Holdfast backs it up.", mark, name, mark, mark,
          yaml_text(found.url));
      name = fmt::format("cache{}", &found - machine_.redis.data() + 2);
    }
  }

  void config() {
    if (machine_.config.empty()) {
      add("  # Files, by patterns as in .gitignore.\n"
          "  # config:\n"
          "  #   type: files\n"
          "  #   root: {}\n"
          "  #   include: [docker-compose.yml, scripts/]\n",
          yaml_text(machine_.directory.string()));
      return;
    }
    std::vector<std::string> include;
    for (const std::string& name : machine_.config) include.push_back("/" + name);
    if (std::ranges::find(machine_.config, kOwnFile) == machine_.config.end()) {
      include.push_back("/" + std::string(kOwnFile));
    }
    add("  # Files, by patterns as in .gitignore. What holds secrets is left to the component "
        "below.\n"
        "  config:\n"
        "    type: files\n"
        "    root: {}\n"
        "    include: {}\n"
        "    exclude: [\".env\", \".env.*\", \"*.pem\", \"*.key\", \"*.pyc\", \"__pycache__/\"]\n",
        yaml_text(machine_.directory.string()), list_of(include));
    if (!machine_.compose_file.empty()) {
      add("    after_restore: docker compose up -d  # shown; run only with `restore "
          "--run-hooks`\n");
    }
  }

  void logs() {
    std::string name = "logs";
    for (const fs::path& directory : machine_.logs) {
      add("  {}:\n"
          "    type: files\n"
          "    root: {}\n",
          name, yaml_text(directory.string()));
      name = fmt::format("logs{}", &directory - machine_.logs.data() + 2);
    }
  }

  void secrets() {
    const bool found = !machine_.secrets.empty();
    const std::string_view mark = found ? "" : "# ";
    add("  # Files whose names and contents are never shown; restored for their owner alone "
        "(0600).\n"
        "  # Who runs Holdfast must be able to read them. They can have a repository and a key of\n"
        "  # their own: configure it above, and name it here as `repository: NAME`; whatever a "
        "job\n"
        "  # says, they then go there alone.\n"
        "  {0}secrets:\n"
        "  {0}  type: secrets\n"
        "  {0}  root: /\n"
        "  {0}  include: {1}\n",
        mark, found ? list_of(machine_.secrets) : "[/app/.env, /secure/*.pem, /secure/*.key]");
    // The key of a repository is of no use in it: who can read the backup has it already.
    add("  {}  exclude: {}\n", mark,
        list_of({paths_.key_file.string(), paths_.key_file.string() + ".*"}));
  }

  void jobs() {
    std::vector<std::string> databases = postgres_names(machine_);
    std::erase(databases, "");
    const std::string frequent =
        databases.empty() ? "all" : fmt::format("[{}]", fmt::join(databases, ", "));
    add("# What is taken when (as in a crontab, UTC), and how long it is kept. `holdfast backup "
        "--job\n"
        "# NAME` takes a job's backups, `holdfast prune` removes what no job keeps any more. "
        "Every\n"
        "# backup restores on its own, an incremental one too.\n"
        "jobs:\n"
        "  incremental: {{at: \"0 0,6,12,18 * * *\", backup: {}, kind: incremental, keep: 7d}}\n"
        "  daily: {{at: \"0 2 * * *\", backup: all, kind: full, keep: 30d}}\n"
        "  weekly: {{at: \"0 3 * * 0\", backup: all, kind: full, keep: 90d}}\n"
        "  monthly: {{at: \"0 3 1 * *\", backup: all, kind: full, keep: 1y}}\n\n"
        "# PostgreSQL's WAL: with it every moment between backups can be brought back.\n"
        "wal: {{keep: 7d}}\n\n"
        "# limits: {{workers: auto, rate: 200MiB, low_priority: true}}  # what a run may take\n",
        frequent);
  }

  const Machine& machine_;
  const ProposalPaths& paths_;
  std::string text_;
};

// As a value in postgresql.conf.
std::string setting_value(const std::string& text) {
  std::string value = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') value += c;
    value += c;
  }
  return value + "'";
}

void add_lines(PostgresChange& change, const postgres::ClusterInfo& info,
               const std::string& command) {
  if (info.wal_level == "minimal") change.lines.emplace_back("wal_level = replica");
  if (info.archive_mode == "off") change.lines.emplace_back("archive_mode = on");
  change.restart = !change.lines.empty();
  if (!info.archive_library.empty()) change.lines.emplace_back("archive_library = ''");
  if (info.archive_command.find("wal push") == std::string::npos) {
    change.lines.push_back("archive_command = " + setting_value(command));
  }
}

}  // namespace

std::string propose_configuration(const Machine& machine, const ProposalPaths& paths) {
  return Writer(machine, paths).write();
}

std::vector<std::string> postgres_names(const Machine& machine) {
  const auto at_work =
      std::count_if(machine.postgres.begin(), machine.postgres.end(), is_primary_at_work);
  std::vector<std::string> names;
  for (const FoundPostgres& found : machine.postgres) {
    std::string name = at_work == 1 ? "database"
                       : found.cluster.debian_name.empty()
                           ? fmt::format("database-{}", found.cluster.port)
                           : "database-" + found.cluster.debian_name;
    std::replace(name.begin(), name.end(), '/', '-');
    const auto taken = std::count_if(names.begin(), names.end(), [&](const std::string& other) {
      return other == name || other.starts_with(name + "-");
    });
    if (taken > 0) name += fmt::format("-{}", taken + 1);
    names.push_back(is_primary_at_work(found) ? name : "");
  }
  return names;
}

std::vector<PostgresChange> postgres_changes(
    const Machine& machine, const std::function<std::string(const std::string&)>& archive_command) {
  const auto names = postgres_names(machine);
  std::vector<PostgresChange> changes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) continue;
    const auto& [cluster, asked] = machine.postgres[i];
    PostgresChange change;
    change.cluster = !cluster.debian_name.empty()      ? cluster.debian_name
                     : !cluster.data_directory.empty() ? cluster.data_directory.string()
                                                       : names[i];
    change.file = cluster.config_file.string();
    postgres::ClusterInfo nothing_set;
    nothing_set.wal_level = "minimal";
    nothing_set.archive_mode = "off";
    if (!asked.info) change.unknown = asked.problem;
    add_lines(change, asked.info ? *asked.info : nothing_set, archive_command(names[i]));
    if (!change.lines.empty()) changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace holdfast::stack
