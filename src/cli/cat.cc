#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/text_table.h"
#include "files/details.h"
#include "repository/file_content.h"
#include "repository/record.h"

namespace holdfast::cli {
namespace {

using base::Error;
using base::ErrorKind;
using repository::FileEntry;
using repository::FileType;

std::string_view type_word(FileType type) {
  switch (type) {
    case FileType::kFile:
      return "file";
    case FileType::kDirectory:
      return "directory";
    case FileType::kSymlink:
      return "symlink";
    case FileType::kFifo:
      break;
  }
  return "fifo";
}

void list_files(Session& session, const repository::BackupRecord& record,
                repository::ChunkReader& reader) {
  nlohmann::json files = nlohmann::json::array();
  TextTable table({"MODE", "OWNER", "GROUP", ">SIZE", "MODIFIED", "PATH"});
  repository::load_file_table(record.file_table, reader, [&](FileEntry&& entry) {
    const std::string modified =
        base::format_time(std::chrono::floor<std::chrono::seconds>(entry.modified));
    if (session.json()) {
      files.push_back({{"path", entry.path},
                       {"type", type_word(entry.type)},
                       {"size", entry.size_bytes},
                       {"mode", fmt::format("{:04o}", entry.mode)},
                       {"owner", entry.owner},
                       {"group", entry.group},
                       {"modified", base::format_time(entry.modified)}});
      if (entry.type == FileType::kSymlink) files.back()["target"] = entry.link_target;
      return;
    }
    std::string shown = base::printable(entry.path);
    if (entry.type == FileType::kDirectory) shown += '/';
    if (entry.type == FileType::kSymlink) shown += " -> " + base::printable(entry.link_target);
    table.add({fmt::format("{:04o}", entry.mode), entry.owner, entry.group,
               std::to_string(entry.size_bytes), modified, shown});
  });
  if (session.json()) {
    session.print_json({{"backup", record.summary.id}, {"files", std::move(files)}});
  } else {
    session.print(table.text());
  }
}

// "./a", "b//../a", "/a" and "a" are the same file, and so is where it stood below the root.
std::string plain_path(const std::string& given, const repository::BackupRecord& record) {
  std::filesystem::path path = std::filesystem::path(given).lexically_normal();
  if (record.summary.type == files::kFilesType) {
    const auto below = path.lexically_relative(files::details_of(record.summary).root);
    if (!below.empty() && *below.begin() != "..") path = below;
  }
  return path.relative_path().generic_string();
}

FileEntry find_file(const repository::BackupRecord& record, repository::ChunkReader& reader,
                    const std::string& path) {
  std::optional<FileEntry> found;
  repository::load_file_table(record.file_table, reader, [&](FileEntry&& entry) {
    if (entry.path == path) found = std::move(entry);
  });
  if (!found) {
    throw Error(ErrorKind::kNotFound, fmt::format("{} holds no {}", record.summary.id, path),
                fmt::format("`holdfast cat {}` lists what it holds", record.summary.id));
  }
  if (found->type != FileType::kFile) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} is no file but a {}", path, type_word(found->type)),
                "`holdfast restore COMPONENT --only PATH` brings back directories and links");
  }
  return std::move(*found);
}

void write_out(Session& session, base::ByteView bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), session.out()) != bytes.size()) {
    throw base::system_error(errno, "cannot write to standard output");
  }
}

}  // namespace

int run_cat(Session& session) {
  const auto& words = session.arguments().positional;
  session.prefer_repository_of(words.front());
  repository::Repository& repository = session.repository();
  const repository::Context& context = repository.context();
  const auto record =
      repository::get_record(context, repository::resolve_backup(context, words.front()));
  if (record.summary.type == "secrets") {
    throw Error(ErrorKind::kRefused, "names and contents of secrets are never shown",
                fmt::format("`holdfast restore {} --to DIR` puts them into a directory, 0600",
                            record.summary.component));
  }
  const repository::Index index = repository::Index::load(context);
  repository::ChunkReader reader(context, index);
  if (words.size() == 1) {
    list_files(session, record, reader);
    return kDone;
  }
  if (session.json()) {
    throw Error(ErrorKind::kUsage, "a file's content is no JSON", "leave --json out");
  }
  repository.require_reading("cat");
  const FileEntry file = find_file(record, reader, plain_path(words.back(), record));
  repository::read_content(file, reader, [&](base::ByteView bytes) { write_out(session, bytes); });
  if (std::fflush(session.out()) != 0) {
    throw base::system_error(errno, "cannot write to standard output");
  }
  return kDone;
}

}  // namespace holdfast::cli
