// Columns for people.
#pragma once

#include <string>
#include <vector>

namespace holdfast::cli {

class TextTable {
 public:
  // A heading that begins with '>' is of a column of numbers, set to the right.
  explicit TextTable(std::vector<std::string> headings);
  void add(std::vector<std::string> cells);  // as many as headings
  // The lines, without spaces at their ends and without the last line break.
  std::string text() const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace holdfast::cli
