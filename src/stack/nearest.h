// Guessing what was meant by a word that is not known.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::stack {

// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The closest candidate, if it is close enough to be what was meant.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string_view>& candidates);

// For a hint: `did you mean "url"?`, or, where nothing is near, `known: url, key_file`.
std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace holdfast::stack
