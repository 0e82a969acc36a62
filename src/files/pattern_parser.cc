#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "files/pattern.h"

namespace holdfast::files {
namespace {

struct ByteClass {
  std::string_view name;
  int (*holds)(int);
};
constexpr std::array<ByteClass, 12> kClasses{{{"alnum", std::isalnum},
                                              {"alpha", std::isalpha},
                                              {"blank", std::isblank},
                                              {"cntrl", std::iscntrl},
                                              {"digit", std::isdigit},
                                              {"graph", std::isgraph},
                                              {"lower", std::islower},
                                              {"print", std::isprint},
                                              {"punct", std::ispunct},
                                              {"space", std::isspace},
                                              {"upper", std::isupper},
                                              {"xdigit", std::isxdigit}}};
constexpr int kAsciiBytes = 128;  // no other byte is of a class

// Spaces at the end mean nothing, but for one that is escaped.
std::string_view without_trailing_spaces(std::string_view line) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == '\\') {
      end = std::min(at + 2, line.size());
      ++at;
    } else if (line[at] != ' ') {
      end = at + 1;
    }
  }
  return line.substr(0, end);
}

}  // namespace

// Reads a line part by part; a '/' within brackets ends none.
class PatternParser {
 public:
  explicit PatternParser(std::string_view line) : line_(line) {}

  Pattern parse();

 private:
  using Part = Pattern::Part;
  using Step = Pattern::Step;

  [[noreturn]] void refuse(std::string_view why) const;
  void strip_marks(Pattern& pattern);
  Part parse_part();
  Step parse_step();
  Step parse_set();
  void add_class(std::bitset<256>& bytes);
  // The next byte, whatever it means.
  std::uint8_t take(std::string_view where_it_ends);
  bool next_is(char expected) const { return at_ < text_.size() && text_[at_] == expected; }

  const std::string_view line_;
  std::string_view text_;  // without its marks
  std::size_t at_ = 0;
};

void PatternParser::refuse(std::string_view why) const {
  throw base::Error(base::ErrorKind::kConfig,
                    fmt::format("the pattern \"{}\" cannot be right: {}", line_, why),
                    "patterns are those of .gitignore, relative to the root of the component");
}

// "!", "./", and the slashes at both ends.
void PatternParser::strip_marks(Pattern& pattern) {
  text_ = without_trailing_spaces(line_);
  pattern.negated_ = text_.starts_with('!');
  if (pattern.negated_) text_.remove_prefix(1);
  while (text_.starts_with("./")) text_.remove_prefix(2);
  if (text_.empty()) refuse("it is empty");
  if (text_ == "/") refuse("it names the root itself");
  pattern.directories_only_ = text_.ends_with('/');
  if (pattern.directories_only_) text_.remove_suffix(1);
  pattern.anchored_ = text_.find('/') != std::string_view::npos;
  if (text_.starts_with('/')) text_.remove_prefix(1);
}

Pattern PatternParser::parse() {
  Pattern pattern;
  strip_marks(pattern);
  do {
    pattern.parts_.push_back(parse_part());
  } while (at_++ < text_.size());
  if (!pattern.anchored_) {
    Part& name = pattern.parts_.front();
    if (name.kind == Part::Kind::kAnyDepth) name.kind = Part::Kind::kSuffix;
    return pattern;
  }
  pattern.any_depth_ =
      std::any_of(pattern.parts_.begin(), pattern.parts_.end(),
                  [](const Part& part) { return part.kind == Part::Kind::kAnyDepth; });
  return pattern;
}

Pattern::Part PatternParser::parse_part() {
  const std::size_t begin = at_;
  Part part;
  while (at_ < text_.size() && text_[at_] != '/' && !text_.substr(at_).starts_with("\\/")) {
    Step step = parse_step();
    const bool once_more = step.any_number && !part.steps.empty() && part.steps.back().any_number;
    if (!once_more) part.steps.push_back(step);
  }
  const std::string_view source = text_.substr(begin, at_ - begin);
  if (next_is('\\')) ++at_;  // before a '/' it says nothing
  if (part.steps.empty()) refuse("a part of it is empty");
  if (source.size() > 1 && source.find_first_not_of('*') == std::string_view::npos) {
    part.kind = Part::Kind::kAnyDepth;
    return part;
  }
  const bool star_first = part.steps.front().any_number;
  for (std::size_t i = star_first ? 1 : 0; i < part.steps.size(); ++i) {
    if (part.steps[i].any_number || part.steps[i].bytes.count() != 1) {
      part.kind = Part::Kind::kSteps;
      return part;
    }
    for (std::size_t byte = 0; byte < 256; ++byte) {
      if (part.steps[i].bytes[byte]) part.text.push_back(static_cast<char>(byte));
    }
  }
  part.kind = star_first ? Part::Kind::kSuffix : Part::Kind::kLiteral;
  part.steps.clear();
  if (!star_first && part.text == "..") refuse("it leaves the root by \"..\"");
  if (!star_first && part.text == ".") refuse("nothing is named \".\"");
  return part;
}

std::uint8_t PatternParser::take(std::string_view where_it_ends) {
  if (at_ == text_.size()) refuse(where_it_ends);
  return static_cast<std::uint8_t>(text_[at_++]);
}

Pattern::Step PatternParser::parse_step() {
  Step step;
  const std::uint8_t byte = take("");
  switch (byte) {
    case '*':
      step.any_number = true;
      return step;
    case '?':
      step.bytes.set();
      return step;
    case '[':
      return parse_set();
    case '\\':
      step.bytes.set(take("a backslash at its end escapes nothing"));
      return step;
    default:
      step.bytes.set(byte);
      return step;
  }
}

// After its "[". A "]" is itself where it comes first.
Pattern::Step PatternParser::parse_set() {
  constexpr std::string_view kNoEnd = "a \"[\" has no end";
  Step step;
  const bool opposite = next_is('!') || next_is('^');
  if (opposite) ++at_;
  std::uint8_t before = 0;  // what a range begins with; 0: nothing
  do {
    std::uint8_t byte = take(kNoEnd);
    if (byte == '-' && before != 0 && at_ < text_.size() && !next_is(']')) {
      std::uint8_t last = take(kNoEnd);
      if (last == '\\') last = take(kNoEnd);
      for (std::size_t each = before; each <= last; ++each) step.bytes.set(each);
      before = 0;
      continue;
    }
    if (byte == '[' && next_is(':')) {
      const std::size_t end = text_.find(']', at_);
      if (end == std::string_view::npos) refuse(kNoEnd);
      if (end > at_ + 1 && text_[end - 1] == ':') {
        add_class(step.bytes);
        before = 0;
        continue;
      }
    }
    if (byte == '\\') byte = take(kNoEnd);
    step.bytes.set(byte);
    before = byte;
  } while (!next_is(']'));
  ++at_;
  if (opposite) step.bytes.flip();
  return step;
}

// ":name:]", and there is one.
void PatternParser::add_class(std::bitset<256>& bytes) {
  const std::size_t end = text_.find(']', at_);
  const std::string_view name = text_.substr(at_ + 1, end - at_ - 2);
  const auto known = std::find_if(kClasses.begin(), kClasses.end(),
                                  [&](const ByteClass& each) { return each.name == name; });
  if (known == kClasses.end()) refuse(fmt::format("no class of bytes is named \"{}\"", name));
  for (int byte = 0; byte < kAsciiBytes; ++byte) {
    if (known->holds(byte) != 0) bytes.set(static_cast<std::size_t>(byte));
  }
  at_ = end + 1;
}

std::optional<Pattern> Pattern::parse(std::string_view line) {
  if (line.starts_with('#')) return std::nullopt;
  return PatternParser(line).parse();
}

}  // namespace holdfast::files
